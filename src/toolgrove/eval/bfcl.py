"""The Berkeley Function Calling Leaderboard: its cases and its checker, from its own wheel."""

from __future__ import annotations

import ast
import json
import logging
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from toolgrove.core.errors import DataError, EvalError, did_you_mean
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.data.schemas import BFCL_TYPES, json_types
from toolgrove.eval.bfcl_languages import JAVA, JAVASCRIPT, shown_function
from toolgrove.eval.cases import Accepted, Case, Verdict

VERSION = "2026.3.23"
"""The release of bfcl-eval whose layout and cases this module knows."""

PREFIX = "BFCL_v4_"
RETIRED = "unused_datasets"
CATEGORIES = {
    "simple_python": "",
    "multiple": "",
    "parallel": "",
    "parallel_multiple": "",
    "irrelevance": "",
    "simple_java": "",
    "simple_javascript": "",
    "live_simple": "",
    "live_multiple": "",
    "live_parallel": "",
    "live_parallel_multiple": "",
    "live_irrelevance": "",
    "live_relevance": "",
    "exec_simple": RETIRED,
    "exec_multiple": RETIRED,
    "exec_parallel": RETIRED,
    "exec_parallel_multiple": RETIRED,
}
"""The categories of one turn, each with the folder of the data set that it lies in."""

NO_CALL = frozenset({"irrelevance", "live_irrelevance"})
"""Categories whose questions no tool on offer fits: the right answer has no call."""

ANY_CALL = frozenset({"live_relevance"})
"""Categories whose right answer is a call, whichever it is."""

LANGUAGES = {"simple_java": JAVA, "simple_javascript": JAVASCRIPT}
"""Categories whose functions are of another language than Python."""

_log = logging.getLogger(__name__)


def wheel(cache_dir: Path | None = None) -> Path:
    """The folder of the unpacked wheel; downloaded on the first call."""
    from toolgrove.data.sources import pypi_wheel

    return pypi_wheel("bfcl-eval", VERSION, cache_dir)


def load_cases(folder: Path, category: str) -> list[Case]:
    """All cases of a category out of the unpacked wheel.

    Cases whose answer is not written in plain values (an executable answer such as ``p=1/6``)
    are left out, and their names logged.
    """
    if category not in CATEGORIES:
        known = ", ".join(CATEGORIES)
        raise EvalError(
            f'unknown category "{category}"',
            hint=f"{did_you_mean(category, CATEGORIES) or ''} known: {known}".strip(),
        )
    home = folder / "bfcl_eval" / "data" / CATEGORIES[category]
    name = f"{PREFIX}{category}.json"
    questions = read_rows((home / "question" if CATEGORIES[category] else home) / name)
    answers: dict[str, Any] = {}
    if category not in NO_CALL | ANY_CALL:
        answers = {
            row["id"]: row["ground_truth"] for row in read_rows(home / "possible_answer" / name)
        }
    cases: list[Case] = []
    left_out: list[str] = []
    for row in questions:
        gold = _gold(row, answers.get(row["id"], ()))
        if gold is None:
            left_out.append(row["id"])
        else:
            cases.append(_case(row, category, gold))
    if left_out:
        _log.info("left out, their answers are not plain values: %s", ", ".join(left_out))
    return cases


def json_schema(schema: Any) -> Any:
    """A schema with Python's type names as JSON Schema, the same keys in the same order."""
    return json_types(schema, BFCL_TYPES)


def tool(function: Mapping[str, Any]) -> Tool:
    """The tool that a model is shown. Names keep their dots, as the benchmark's prompts do."""
    return Tool(
        {
            "type": "function",
            "function": {
                "name": function["name"],
                "description": function["description"],
                "parameters": json_schema(function["parameters"]),
            },
        }
    )


@dataclass(frozen=True, slots=True)
class BfclChecker:
    """The benchmark's own AST checker behind our interface."""

    ast_checker: Callable[..., dict[str, Any]]
    languages: Any

    def check(self, case: Case, calls: Sequence[ToolCall]) -> Verdict:
        """The benchmark's verdict on these calls.

        Arguments of a shape that its checker trips over are wrong, with the trip as the reason.
        """
        gold = [{wanted.name: dict(wanted.arguments)} for wanted in case.gold]
        made = [{call.name: call.arguments} for call in calls]
        kind = case.category
        if kind not in CATEGORIES:
            kind = "multiple" if len(gold) == 1 else "parallel"
        language = self.languages[LANGUAGES.get(case.category, "Python").upper()]
        try:
            said = self.ast_checker(list(case.functions), made, gold, language, kind, "any")
        except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
            return Verdict(False, f"{type(error).__name__}: {error}", "unreadable_value")
        if said["valid"]:
            return Verdict(True)
        return Verdict(False, _flat(said["error"]), str(said["error_type"]))


def load_checker(folder: Path) -> BfclChecker:
    """The checker out of the unpacked wheel. Nothing stays behind in sys.path or sys.modules."""
    with _importable(folder):
        try:
            from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]
            from bfcl_eval.eval_checker.ast_eval.ast_checker import (  # type: ignore[import-not-found]
                ast_checker,
            )
        except ImportError as error:
            raise EvalError(
                f"the benchmark's checker cannot be loaded: {error}",
                where=str(folder),
                hint="delete this folder; it is then downloaded anew",
            ) from error
    return BfclChecker(ast_checker, Language)


class _NoRenaming(dict[str, Any]):
    """The benchmark's table of models, for one that keeps the dots in function names."""

    def __missing__(self, _model: str) -> SimpleNamespace:
        return SimpleNamespace(underscore_to_dot=False)


@contextmanager
def _importable(folder: Path) -> Iterator[None]:
    """Makes the wheel importable for a moment.

    Its table of models imports every vendor's client library; a stand-in takes its place.
    """
    table = ModuleType("bfcl_eval.constants.model_config")
    table.__dict__["MODEL_CONFIG_MAPPING"] = _NoRenaming()
    before = {name: module for name, module in sys.modules.items() if _is_theirs(name)}
    for name in before:
        del sys.modules[name]
    sys.modules[table.__name__] = table
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if _is_theirs(name)]:
            del sys.modules[name]
        sys.modules.update(before)


def _is_theirs(module: str) -> bool:
    return module.partition(".")[0] == "bfcl_eval"


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of one of the benchmark's files: a JSON object a line."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise DataError(
            "a file of the benchmark is missing",
            where=str(file),
            hint=f"this needs bfcl-eval=={VERSION}, unpacked",
        ) from None
    return [json.loads(line) for line in text.splitlines() if line.strip()]


def _case(row: Mapping[str, Any], category: str, gold: tuple[Accepted, ...]) -> Case:
    if len(row["question"]) != 1:
        raise DataError("a case with several turns", where=row["id"])
    messages = tuple(Message(Role(m["role"]), m["content"]) for m in row["question"][0])
    functions = tuple(row["function"])
    language = LANGUAGES.get(category)
    shown = [shown_function(f, language) for f in functions] if language else functions
    conversation = Conversation(messages, tuple(tool(function) for function in shown))
    return Case(row["id"], category, conversation, functions, gold, category in ANY_CALL)


def _gold(row: Mapping[str, Any], answer: Sequence[Any]) -> tuple[Accepted, ...] | None:
    """The wanted calls; None where an executable answer is not written in plain values."""
    gold: list[Accepted] = []
    for call in answer:
        if isinstance(call, str):
            written = _written_call(call, row["function"])
            if written is None:
                return None
            gold.append(written)
        else:
            gold.extend(Accepted(name, arguments) for name, arguments in call.items())
    return tuple(gold)


def _written_call(source: str, functions: Sequence[Mapping[str, Any]]) -> Accepted | None:
    """A call written in Python, as the one value accepted for each argument."""
    call = ast.parse(source, mode="eval").body
    if not isinstance(call, ast.Call):
        return None
    name = ast.unparse(call.func)
    known = {f["name"]: list(f["parameters"]["properties"]) for f in functions}
    if name not in known:
        return None
    try:
        values = {k: ast.literal_eval(v) for k, v in zip(known[name], call.args, strict=False)}
        values |= {str(k.arg): ast.literal_eval(k.value) for k in call.keywords}
    except ValueError:
        return None
    return Accepted(name, {key: [_as_json(value)] for key, value in values.items()})


def _as_json(value: Any) -> Any:
    """Tuples as lists, which is what JSON makes of them."""
    return json.loads(json.dumps(value))


def _flat(error: Any) -> str:
    parts = error if isinstance(error, list) else [error]
    return "; ".join(part if isinstance(part, str) else json.dumps(part) for part in parts)
