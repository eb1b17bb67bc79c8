"""Compares every chat template with its maker's renderings, where those lie beside the checkout.

Writes how many are equal into the package, and the page of the differences. ``--check`` writes
nothing and fails when either is out of date.
"""

from __future__ import annotations

import gzip
import json
import sys
from datetime import date
from pathlib import Path
from typing import Any

import toolgrove as tg
from toolgrove.core.errors import ToolgroveError
from toolgrove.core.spans import text_of
from toolgrove.templates.writing import Turn

HERE = Path(__file__).parents[1]
GOLDENS = HERE.parent / "shared" / "goldens" / "vendor"
NUMBERS = HERE / "src" / "toolgrove" / "templates" / "exactness.json"
REASONS = HERE / "tests" / "golden" / "differences.json"
PAGE = HERE / "docs" / "differences.md"
TODAY = date(2026, 1, 15)


def main() -> int:
    """Compares and writes; 1 when ``--check`` finds something out of date."""
    if not GOLDENS.is_dir():
        print("skipped: the makers' renderings are not beside this checkout", file=sys.stderr)
        return 0
    reasons: dict[str, str] = json.loads(REASONS.read_text(encoding="utf-8"))
    scenarios = {line["id"]: line for line in lines(GOLDENS / "scenarios.jsonl.gz")}
    numbers: dict[str, dict[str, int]] = {}
    different: list[tuple[str, str]] = []
    for name in tg.chat_templates():
        file = GOLDENS / "renders" / f"{name}.jsonl.gz"
        if not file.is_file():
            continue
        records = [record for record in lines(file) if record["text"] is not None]
        wrong = [r for r in records if not is_equal(name, r, scenarios[r["scenario"]])]
        numbers[name] = {"records": len(records), "equal": len(records) - len(wrong)}
        different += [(name, record_name(record)) for record in wrong]
    unexplained = [f"{name} {record}" for name, record in different if name not in reasons]
    if unexplained:
        print("no reason is given for:", *unexplained, sep="\n  ", file=sys.stderr)
    files = {NUMBERS: json.dumps(numbers, indent=1) + "\n", PAGE: page(different, reasons)}
    stale = [f for f, text in files.items() if not f.is_file() or f.read_text("utf-8") != text]
    if "--check" in sys.argv:
        if stale:
            print("out of date, run scripts/exactness.py:", *stale, file=sys.stderr)
        return 1 if stale or unexplained else 0
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    records = sum(found["records"] for found in numbers.values())
    print(f"{records - len(different)} of {records} records are equal")
    return 1 if unexplained else 0


def lines(file: Path) -> list[dict[str, Any]]:
    """The objects of a JSONL file, compressed or not."""
    opener = gzip.open if file.suffix == ".gz" else open
    with opener(file, "rt", encoding="utf-8") as opened:
        return [json.loads(line) for line in opened]


def is_equal(name: str, record: dict[str, Any], scenario: dict[str, Any]) -> bool:
    """Whether our text, prompt and turns are the maker's, character for character."""
    dialect = tg.dialect(name, options=record["kwargs"], today=TODAY)
    try:
        conv = tg.conversation(row_of(scenario, record["args_mode"]))
        text, prompt = dialect.text(conv), dialect.prompt(conv)
        turns = {turn.message: turn for turn in dialect.turns(conv)}
    except ToolgroveError:
        return False
    return (
        text == record["text"]
        and record["text_gen"] in (None, prompt)
        and all(
            span["message"] in turns and is_turn(turns[span["message"]], span, text)
            for span in record["assistant_spans"]
            if span["turn"]["status"] == "exact"
        )
    )


def is_turn(turn: Turn, span: dict[str, Any], text: str) -> bool:
    """Whether a turn's prompt and completion are the maker's.

    A maker's template that opens the next reply without being asked (``llama3``,
    ``command_r7b_tool_use``) has no stop at the end of its rendering, so that the header of the
    next reply counts there as the model's words: ours ends before it.
    """
    wanted = span["turn"]["prompt"], span["turn"]["completion"]
    prompt = text[: span["start"]] if wanted[0] is None else wanted[0]
    completion = text[span["start"] : span["end"]] if wanted[1] is None else wanted[1]
    ours = text_of(turn.completion)
    opened = completion.removeprefix(ours) if span["turn"]["stop"] is None else ""
    return text_of(turn.prompt) == prompt and (
        ours == completion or (ours + opened == completion and prompt.endswith(opened))
    )


def row_of(scenario: dict[str, Any], args_mode: str) -> dict[str, Any]:
    """The scenario as a row, its arguments as objects or as JSON strings."""
    messages = json.loads(json.dumps(scenario["messages"]))
    for message in messages if args_mode == "string" else []:
        for call in message.get("tool_calls") or []:
            function = call["function"]
            function["arguments"] = json.dumps(function["arguments"], ensure_ascii=False)
    return {"messages": messages, **({"tools": scenario["tools"]} if scenario["tools"] else {})}


def record_name(record: dict[str, Any]) -> str:
    """The scenario, with the options and the form of arguments where they are not the default."""
    options = ", ".join(f"{key}={value}" for key, value in record["kwargs"].items())
    strings = "arguments as strings" if record["args_mode"] == "string" else ""
    return "; ".join(part for part in (record["scenario"], options, strings) if part)


def page(different: list[tuple[str, str]], reasons: dict[str, str]) -> str:
    """The page that lists what is not equal, and why."""
    text = (
        "# Differences from the makers' templates\n\n"
        "Written by `scripts/exactness.py`: every rendering of a maker's own template that ours "
        "does not equal character for character, in the whole text, with the prompt of the next "
        "reply, and in the prompt and the completion of each turn. The makers' `llama3` and "
        "`command_r7b_tool_use` open the next reply without being asked; the header that they "
        "write is no part of a completion here, which ends with the stop token.\n\n"
    )
    if not different:
        return f"{text}There are none.\n"
    rows = "".join(f"| `{n}` | {record} | {reasons.get(n, '')} |\n" for n, record in different)
    return f"{text}| chat template | rendering | reason |\n|---|---|---|\n{rows}"


if __name__ == "__main__":
    sys.exit(main())
