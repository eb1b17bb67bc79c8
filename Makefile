# Every target builds .venv by itself and re-installs only when the lists of packages change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
SLOW_STAMP := $(VENV)/.installed-slow
EXTRAS := train,serve,otel,agent,studio,eval,export,grammar,quant,dev
SLOW_EXTRAS := deepspeed,ray
BENCH_FLAGS ?=
# Waiting threads sleep instead of spinning: on a busy machine that is several times faster.
export OMP_WAIT_POLICY ?= passive
export GOMP_SPINCOUNT ?= 0

.DEFAULT_GOAL := help
.PHONY: help venv demo test test-slow test-vllm lint format docs bench-setup bench clean

help: ## say what can be made
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 1; }
	@test -x $(BIN)/python || { echo "making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@echo "installing torch (once; this may take some minutes)"
	@$(PIP) install --quiet --progress-bar on -c constraints.txt "$$(grep '^torch==' constraints.txt)"
	@echo "installing toolgrove and its tools"
	@$(PIP) install --quiet --progress-bar on -c constraints.txt -e ".[$(EXTRAS)]"
	@touch $@

venv: $(STAMP) ## build the environment only

demo: $(STAMP) ## fine-tune a real model into calling tools, measured before and after
	@$(BIN)/toolgrove demo

test: $(STAMP) ## the fast tests
	@$(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

$(SLOW_STAMP): $(STAMP)
	@echo "installing DeepSpeed and Ray, which the slow tests run"
	@$(PIP) install --quiet --progress-bar on -c constraints.txt -e ".[$(SLOW_EXTRAS)]"
	@touch $@

test-slow: $(SLOW_STAMP) ## the slow tests: distributed runs, kills, long trainings
	@$(BIN)/python -m pytest -m slow

test-vllm: $(STAMP) ## the serving suite on vLLM, with the model of make demo (its own environment, 3.5 GB, made once)
	@$(BIN)/python scripts/vllm_stage.py

lint: $(STAMP) ## format, lint, types, layers
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/pyright
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/python scripts/module_list.py --check
	@$(BIN)/python scripts/exactness.py --check

format: $(STAMP) ## put the code in shape
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
	@$(BIN)/python scripts/module_list.py
	@$(BIN)/python scripts/exactness.py
	@$(BIN)/toolgrove templates --format markdown > docs/templates.md

docs: $(STAMP) ## the documentation, into site/
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "site/index.html"

bench-setup: $(STAMP) ## what the benchmarks need besides the package
	@$(BIN)/python benchmarks/data.py --setup
	@$(BIN)/python benchmarks/eval.py --setup

bench: bench-setup ## every script in benchmarks/, as JSON (BENCH_FLAGS=--quick)
	@set -e; for script in benchmarks/*.py; do \
		echo "== $$script" >&2; $(BIN)/python $$script --json $(BENCH_FLAGS); done

clean: ## remove what was built
	rm -rf $(VENV) site dist build .pytest_cache .ruff_cache .import_linter_cache .hypothesis
