"""Hand-made cases and a benchmark wheel of the same layout as the real one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolgrove.eval.bfcl import load_cases
from toolgrove.eval.bfcl_turns import DOCUMENTS
from toolgrove.eval.cases import Case
from toolgrove.eval.outcome import Outcome

AREA = {
    "name": "geometry.area",
    "description": "Area of a rectangle.",
    "parameters": {
        "type": "dict",
        "properties": {
            "width": {"type": "float", "description": "Width."},
            "height": {"type": "float", "description": "Height."},
            "unit": {"type": "string", "description": "Unit.", "enum": ["m", "cm"]},
        },
        "required": ["width", "height"],
    },
}
SWAP = {
    "name": "swap",
    "description": "Swaps two numbers.",
    "parameters": {
        "type": "dict",
        "properties": {"pair": {"type": "tuple", "items": {"type": "integer"}}},
        "required": ["pair"],
    },
}
AST_CHECKER = """
from bfcl_eval.constants.enums import Language
from bfcl_eval.constants.model_config import MODEL_CONFIG_MAPPING

def ast_checker(functions, made, gold, language, category, model):
    assert not MODEL_CONFIG_MAPPING[model].underscore_to_dot and language is Language.PYTHON
    if len(made) != len(gold):
        return {"valid": False, "error": ["Wrong number of functions."], "error_type": "count"}
    for call, wanted in zip(made, gold):
        (name, accepted), = wanted.items()
        for key, value in call[name].items():
            if value + 0 not in accepted[key]:
                return {"valid": False, "error": [f"wrong {key}"], "error_type": "value"}
    return {"valid": True, "error": []}
"""

ADD = {
    "name": "add",
    "description": "Adds to the sum.",
    "parameters": {
        "type": "dict",
        "properties": {"number": {"type": "integer", "description": "What to add."}},
        "required": ["number"],
    },
}
TALK = {
    "id": "multi_turn_base_0",
    "question": [
        [{"role": "user", "content": "Add 2 and 3."}],
        [{"role": "user", "content": "Now 4 more."}],
    ],
    "initial_config": {"MathAPI": {"sum": 10}},
    "involved_classes": ["MathAPI"],
}
WORLD = """
import copy, os, socket, subprocess, time

class MathAPI:
    def __init__(self, sum):
        self.sum = sum
    def add(self, number):
        self.sum += number
        print("{}")
        return self.sum
    def hang(self):
        time.sleep(60)
    def die(self):
        os._exit(3)
    def grow(self):
        return len(bytearray(16 << 30))
    def connect(self):
        return socket.create_connection(("127.0.0.1", 9), 1)
    def start(self):
        return subprocess.run(["true"])
    def write(self, path):
        return open(path, "w")
    def read(self, path):
        return open(path).read()

def execute_multi_turn_func_call(
    calls, config, classes, model, name, long_context=False, is_evaL_run=False
):
    kept = f"{model}{'_eval' if is_evaL_run else ''}_{name}_instance"
    if kept not in globals():
        globals()[kept] = MathAPI(**copy.deepcopy(config["MathAPI"]))
    results = []
    for call in calls:
        try:
            results.append(str(eval(call, {n: getattr(globals()[kept], n) for n in dir(MathAPI)})))
        except Exception as error:
            results.append(f"Error during execution: {error}")
    return results, {"MathAPI": globals()[kept]}
"""
TURNS_CHECKER = """
from bfcl_eval.eval_checker.multi_turn_eval.multi_turn_utils import execute_multi_turn_func_call

def multi_turn_checker(turns, wanted, entry, category, model):
    for number, (turn, right) in enumerate(zip(turns, wanted)):
        sums = []
        for name, steps in ((model, turn), (model + "_gold", [right])):
            for step in [[], *steps]:
                _, made = execute_multi_turn_func_call(
                    step, entry["initial_config"], [], name, entry["id"], is_evaL_run=True
                )
            sums.append(made["MathAPI"].sum)
        if sums[0] != sums[1]:
            return {"valid": False, "error_message": f"turn {number}", "error_type": "state"}
    return {"valid": True}
"""


def write_rows(file: Path, rows: list[dict]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def question(name: str, text: str, *functions: dict) -> dict:
    return {"id": name, "question": [[{"role": "user", "content": text}]], "function": functions}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A folder with two categories, one of them with executable answers, and a checker."""
    home = tmp_path / "wheel" / "bfcl_eval"
    data = home / "data"
    write_rows(
        data / "BFCL_v4_simple_python.json",
        [
            question("simple_python_0", "Area of 3 by 4?", AREA),
            question("simple_python_1", "Area of 5 by 6 in cm?", AREA),
        ],
    )
    answer = {"width": [3.0, 3], "height": [4], "unit": ["", "m"]}
    other = {"width": [5], "height": [6], "unit": ["cm"]}
    write_rows(
        data / "possible_answer" / "BFCL_v4_simple_python.json",
        [
            {"id": "simple_python_0", "ground_truth": [{"geometry.area": answer}]},
            {"id": "simple_python_1", "ground_truth": [{"geometry.area": other}]},
        ],
    )
    retired = data / "unused_datasets"
    write_rows(
        retired / "question" / "BFCL_v4_exec_simple.json",
        [
            question("exec_simple_0", "Swap (1, 2).", SWAP),
            question("exec_simple_1", "Swap a third and one.", SWAP),
        ],
    )
    write_rows(
        retired / "possible_answer" / "BFCL_v4_exec_simple.json",
        [
            {"id": "exec_simple_0", "ground_truth": ["swap((1, 2))"]},
            {"id": "exec_simple_1", "ground_truth": ["swap(pair=(1/3, 1))"]},
        ],
    )
    turns = home / "eval_checker" / "multi_turn_eval"
    for package in (home, home / "constants", home / "eval_checker/ast_eval", turns):
        package.mkdir(parents=True, exist_ok=True)
    (home / "constants" / "enums.py").write_text(
        "from enum import Enum\nclass Language(Enum):\n    PYTHON = 'python'\n"
    )
    (home / "constants" / "model_config.py").write_text("raise ImportError('vendors')\n")
    (home / "eval_checker" / "ast_eval" / "ast_checker.py").write_text(AST_CHECKER)
    (turns / "multi_turn_utils.py").write_text(WORLD)
    (turns / "multi_turn_checker.py").write_text(TURNS_CHECKER)
    write_rows(data / "BFCL_v4_multi_turn_base.json", [TALK])
    answer = {"id": TALK["id"], "ground_truth": [["add(2)", "add(number=3)"], ["add(number=4)"]]}
    write_rows(data / "possible_answer" / "BFCL_v4_multi_turn_base.json", [answer])
    for document in DOCUMENTS.values():
        write_rows(data / "multi_turn_func_doc" / f"{document}.json", [ADD])
    return home.parent


@pytest.fixture
def cases(wheel: Path) -> list[Case]:
    return load_cases(wheel, "simple_python")


@pytest.fixture
def outcome_of() -> Callable[..., Outcome]:
    """Makes an outcome, right or wrong."""
    return _outcome


def _outcome(name: str, right: bool, **more) -> Outcome:
    call = {"name": "geometry.area", "arguments": {"width": 3, "note": "<script>"}}
    said = {"role": "assistant", "content": "said <b>&</b>", "tool_calls": [{"function": call}]}
    given = {
        "suite": "bfcl",
        "category": "simple_python",
        "marks": {"right": float(right), "format": 1.0},
        "reason": "" if right else "no <i>way</i>",
        "kind": "" if right else "value",
        "expected": "geometry.area(width: [4])",
        "messages": [{"role": "user", "content": f"Question {name}?"}, said],
        "asked": 1,
        "tools": [{"type": "function", "function": AREA}],
    }
    return Outcome(name=name, **{**given, **more})
