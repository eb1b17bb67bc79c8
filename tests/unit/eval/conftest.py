"""Hand-made cases and a benchmark wheel of the same layout as the real one."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from toolgrove.core.messages import Reply, ToolCall
from toolgrove.eval.bfcl import load_cases
from toolgrove.eval.cases import Case, Result, Verdict

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
    for package in (home, home / "constants", home / "eval_checker/ast_eval"):
        package.mkdir(parents=True, exist_ok=True)
    (home / "constants" / "enums.py").write_text("class Language:\n    PYTHON = 'python'\n")
    (home / "constants" / "model_config.py").write_text("raise ImportError('vendors')\n")
    (home / "eval_checker" / "ast_eval" / "ast_checker.py").write_text(AST_CHECKER)
    return home.parent


@pytest.fixture
def cases(wheel: Path) -> list[Case]:
    return load_cases(wheel, "simple_python")


@pytest.fixture
def result_of() -> Callable[[Case, bool], Result]:
    """Makes a result of a case, right or wrong."""
    return _result


def _result(case: Case, right: bool) -> Result:
    text = "said <b>&</b>"
    call = ToolCall(case.gold[0].name, {"width": 3, "note": "<script>"})
    reply = Reply(None, "", (call,)) if right else Reply(None, text)
    return Result(case, "prompt", text, reply, right, right, Verdict(right, "" if right else "no"))
