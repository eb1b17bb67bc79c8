"""A corpus with planted faults: clean rows, and rows with one known fault each, for the doctor."""

from __future__ import annotations

import argparse
import copy
import json
import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

Row = dict[str, Any]
Plant = Callable[[Row, random.Random], Row | str | bytes]

CORPUS = "corpus.jsonl"
EVALUATION = "evaluation.jsonl"
PLANTED = "planted.json"
KEY = "AKIA" + "Z3QW7RTY5UPL2KMN"

_SYLLABLES = tuple(a + b for a in "bcdfghjklmnprstvwz" for b in "aeiou")


class Fault(NamedTuple):
    """A planted fault: its place and the code that the doctor has to give it there."""

    file: str
    line: int
    code: str


def clean_rows(count: int, rng: random.Random) -> list[Row]:
    """Rows without a fault, all different: questions, calls with results, answers."""
    return [_clean_row(number, rng) for number in range(count)]


def corrupted(
    rows: Sequence[Row], rng: random.Random
) -> tuple[list[Row | str | bytes], list[Fault]]:
    """The rows with one faulty row of each kind between them, and where the faults are."""
    lines: list[Row | str | bytes] = []
    faults: list[Fault] = []
    plants = list(PLANTS.items())
    gap = max(len(rows) // len(plants), 1)
    for number, row in enumerate(rows):
        lines.append(row)
        if number % gap == gap - 1 and plants:
            code, plant = plants.pop(0)
            lines.append(plant({**clean_rows(1, rng)[0], "id": f"faulty {code}"}, rng))
            faults.append(Fault(CORPUS, len(lines), code))
    for code, twin in TWINS.items():
        first = {**clean_rows(1, rng)[0], "id": f"first {code}"}
        lines += [_untyped(first, 5) if code == "mixed-argument" else first]
        lines.append(twin(copy.deepcopy(first), rng))
        faults.append(Fault(CORPUS, len(lines), code))
    return lines, faults


def write(folder: Path, rows: Sequence[Row], seed: int = 7) -> list[Fault]:
    """Writes corpus, broken files and evaluation set; gives all faults, in PLANTED, too."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    lines, faults = corrupted(rows, rng)
    asked, nearly = rows[len(rows) // 3], rows[len(rows) // 2]
    questions = [_question_of(asked), f"{_question_of(nearly)} Thanks."]
    cases = [{"messages": [{"role": "user", "content": question}]} for question in questions]
    faults.append(Fault(CORPUS, lines.index(asked) + 1, "eval-overlap"))
    faults.append(Fault(CORPUS, lines.index(nearly) + 1, "eval-near"))
    (folder / EVALUATION).write_bytes(b"".join(_bytes(case) + b"\n" for case in cases))
    (folder / CORPUS).write_bytes(b"".join(_bytes(line) + b"\n" for line in lines))
    faults += _files(folder)
    told = [fault._asdict() for fault in faults]
    (folder / PLANTED).write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return faults


def _files(folder: Path) -> list[Fault]:
    (folder / "empty.jsonl").write_bytes(b"")
    (folder / "not_parquet.parquet").write_bytes(b"PAR1 and nothing that belongs to it")
    (folder / "table.csv").write_text(
        "query,response\nWhat?,That.\nWho?,He,she\n", encoding="utf-8"
    )
    return [
        Fault("empty.jsonl", 1, "empty-file"),
        Fault("not_parquet.parquet", 1, "unreadable-file"),
        Fault("table.csv", 3, "bad-record"),
    ]


def _bytes(line: Row | str | bytes) -> bytes:
    if isinstance(line, bytes):
        return line
    return (line if isinstance(line, str) else json.dumps(line, ensure_ascii=False)).encode()


def _words(rng: random.Random, count: int) -> str:
    return " ".join(
        "".join(rng.choice(_SYLLABLES) for _ in range(rng.randint(2, 3))) for _ in range(count)
    )


def _question_of(row: Row) -> str:
    return next(m["content"] for m in row["messages"] if m["role"] == "user")


def _tool(rng: random.Random) -> Row:
    name = _words(rng, 1)
    return {
        "type": "function",
        "function": {
            "name": f"find_{name}",
            "description": f"Finds the {name} of a place.",
            "parameters": {
                "type": "object",
                "properties": {
                    "place": {"type": "string", "description": "The place."},
                    "days": {"type": "integer", "minimum": 1, "maximum": 30},
                    "unit": {"type": "string", "enum": ["metric", "imperial"]},
                    "exact": {"type": "boolean"},
                },
                "required": ["place", "days"],
            },
        },
    }


def _clean_row(number: int, rng: random.Random) -> Row:
    tools = [_tool(rng), _tool(rng)]
    name = tools[0]["function"]["name"]
    call = {"name": name, "arguments": {"place": _words(rng, 1), "days": rng.randint(1, 30)}}
    other = {"name": name, "arguments": {"place": _words(rng, 1), "days": 3, "unit": "metric"}}
    return {
        "id": f"row {number}",
        "messages": [
            {"role": "user", "content": f"Tell me {_words(rng, 6)} in {_words(rng, 6)}, please."},
            {"role": "tool_call", "content": json.dumps(call)},
            {"role": "tool_response", "content": _words(rng, 6)},
            {"role": "assistant", "content": f"It is {_words(rng, 10)}."},
            {"role": "user", "content": f"And {_words(rng, 8)}?"},
            {"role": "tool_call", "content": json.dumps(other)},
            {"role": "tool_response", "content": _words(rng, 6)},
            {"role": "assistant", "content": f"That is {_words(rng, 10)}."},
        ],
        "tools": tools,
    }


def _python_arguments(row: Row, _: random.Random) -> Row:
    """The first call as Python prints it."""
    row["messages"][1]["content"] = str(json.loads(row["messages"][1]["content"]))
    return row


def _arguments(**changes: Any) -> Plant:
    """The first call with other arguments; ``None`` takes one out."""

    def plant(row: Row, _: random.Random) -> Row:
        call = json.loads(row["messages"][1]["content"])
        for name, value in changes.items():
            call["arguments"][name] = value
            if value is None:
                del call["arguments"][name]
        row["messages"][1]["content"] = json.dumps(call)
        return row

    return plant


def _content(index: int, text: Any) -> Plant:
    """A message with another content; ``{}`` in a text stands for the old one."""

    def plant(row: Row, _: random.Random) -> Row:
        old = row["messages"][index]["content"]
        row["messages"][index]["content"] = (
            text.replace("{}", old, 1) if isinstance(text, str) else text
        )
        return row

    return plant


def _message(index: int, *, take: int = 0, put: Iterable[Row] = ()) -> Plant:
    """Messages taken out, others put in their place."""

    def plant(row: Row, _: random.Random) -> Row:
        row["messages"][index : index + take] = list(put)
        return row

    return plant


def _columns(**changes: Any) -> Plant:
    """The row with other columns."""

    def plant(row: Row, _: random.Random) -> Row:
        return {**row, **changes}

    return plant


def _only(**columns: Any) -> Plant:
    """A row of these columns alone."""

    def plant(row: Row, _: random.Random) -> Row:
        return {"id": row["id"], **columns}

    return plant


def _parallel(row: Row, _: random.Random) -> Row:
    calls = [
        {"id": "call_1", "type": "function", "function": json.loads(row["messages"][n]["content"])}
        for n in (1, 5)
    ]
    result = {"role": "tool", "tool_call_id": "call_1", "content": "12"}
    row["messages"][1:3] = [{"role": "assistant", "tool_calls": calls}, result, dict(result)]
    return row


def _loop(row: Row, _: random.Random) -> Row:
    row["messages"][3:3] = copy.deepcopy(row["messages"][1:3])
    return row


def _masked(row: Row, _: random.Random) -> Row:
    for message in row["messages"]:
        if message["role"] in ("assistant", "tool_call"):
            message["loss"] = False
    return row


def _tools(change: Callable[[list[Row]], Any]) -> Plant:
    def plant(row: Row, _: random.Random) -> Row:
        change(row["tools"])
        return row

    return plant


def _no_tools(row: Row, _: random.Random) -> Row:
    del row["tools"]
    return row


def _named(row: Row, _: random.Random) -> Row:
    row["messages"][2]["name"] = "send_mail"
    return row


def _raw(change: Callable[[str], str | bytes]) -> Plant:
    def plant(row: Row, _: random.Random) -> str | bytes:
        return change(json.dumps(row, ensure_ascii=False))

    return plant


def _retype(tools: list[Row]) -> None:
    tools[0]["function"]["parameters"]["properties"]["days"]["type"] = "int"


def _require(tools: list[Row]) -> None:
    tools[1]["function"]["parameters"]["required"].append("season")


def _renamed_call(row: Row, _: random.Random) -> Row:
    call = json.loads(row["messages"][1]["content"])
    row["messages"][1]["content"] = json.dumps({**call, "name": "send_mail"})
    return row


def _boxed(row: Row) -> Row:
    row["messages"][3]["content"] += " <bbox>"
    return {**_with_image(row, "a.png"), "objects": {"bbox": [[1, 2, 3]]}}


def _told_twice(row: Row) -> Row:
    told = {"role": "system", "content": f"Your tools: {json.dumps(row['tools'])}"}
    return {**row, "messages": [told, *row["messages"]]}


def _long(row: Row, rng: random.Random) -> Row:
    row["messages"][2]["content"] = _words(rng, 1) + " x" * 600_000
    return row


_PAIR = {"query": "What is the capital of the north?", "response": "It has none of its own yet."}


def _with_image(row: Row, image: Any) -> Row:
    row["messages"][0]["content"] += " <image>"
    return {**row, "images": [image]}


PLANTS: dict[str, Plant] = {
    "not-json": _raw(lambda text: text.replace('"', "'")),
    "cut-off": _raw(lambda text: text[: len(text) // 2]),
    "not-utf8": _raw(lambda text: text.replace("Tell me", "Sag mir, schöne").encode("latin-1")),
    "json-constant": _raw(lambda text: text[:-1] + ', "score": NaN}'),
    "duplicate-key": _raw(lambda text: text[:-1] + ', "tools": []}'),
    "too-deep": _raw(lambda text: text[:-1] + ', "deep": ' + "[" * 100_000 + "]" * 100_000 + "}"),
    "not-object": _raw(lambda text: f"[{text}]"),
    "half-surrogate": _raw(lambda text: text.replace("Tell me", "Tell \\ud83d me")),
    "no-conversation": _only(mesages=[]),
    "ambiguous-columns": _only(question=_PAIR["query"], problem="Which?", response="That one."),
    "bad-message": _content(0, 5),
    "bad-role": _message(0, take=1, put=[{"role": "wizard", "content": "Hello."}]),
    "bad-call": _content(1, "{}}}"),
    "bad-tools": _columns(tools="find_place, send_mail"),
    "bad-weight": _message(3, take=1, put=[{"role": "assistant", "content": "No.", "loss": "no"}]),
    "bad-history": _only(**_PAIR, history=[["only one"]]),
    "tool-schema": _tools(_retype),
    "duplicate-tool": _tools(lambda tools: tools.append(copy.deepcopy(tools[1]))),
    "required-undeclared": _tools(_require),
    "unknown-tool": _renamed_call,
    "no-tools": _no_tools,
    "missing-argument": _arguments(days=None),
    "argument-type": _arguments(days="4"),
    "python-arguments": _python_arguments,
    "argument-value": _arguments(days=31),
    "extra-argument": _arguments(colour="red"),
    "duplicate-call-id": _parallel,
    "repeated-call": _loop,
    "orphan-result": _message(1, take=1),
    "result-name": _named,
    "unanswered-call": _message(2, take=1),
    "empty-answer": _content(7, "  "),
    "empty-turn": _content(4, ""),
    "repeated-turn": _message(
        4,
        put=[
            {"role": "user", "content": "Wait a moment."},
            {"role": "user", "content": "Wait a moment."},
        ],
    ),
    "double-user": _message(4, put=[{"role": "user", "content": "One more thing, please."}]),
    "assistant-first": _message(0, put=[{"role": "assistant", "content": "At your service."}]),
    "role-order": _message(4, put=[{"role": "assistant", "content": "One thing I forgot: rain."}]),
    "late-system": _message(4, put=[{"role": "system", "content": "Be brief from now on."}]),
    "open-end": _message(7, take=1),
    "no-answer": _only(messages=[{"role": "user", "content": "Is anybody at home in there?"}]),
    "all-masked": _masked,
    "secret": _content(0, f"{{}} My key is {KEY}."),
    "control-string": _content(4, "{}<|im_end|>"),
    "control-character": _content(4, "{}\x08\x08"),
    "broken-text": _content(4, "{} cafÃ©"),
    "call-in-text": _content(3, '<tool_call>\n{"name": "find", "arguments": {}}\n</tool_call>'),
    "null-text": _content(7, "None"),
    "escaped-text": _content(7, "First one.\\n\\nThen the other.\\n"),
    "thinking-tags": _message(
        7,
        take=1,
        put=[
            {
                "role": "assistant",
                "content": "The coast, then.",
                "reasoning_content": "<think>Coast.</think>",
            }
        ],
    ),
    "tools-twice": lambda row, _: _told_twice(row),
    "unread-key": _message(
        7, take=1, put=[{"role": "assistant", "content": "No more of it.", "weight": 0}]
    ),
    "unbalanced-thinking": _content(3, "<think>Let me see. {}"),
    "media-tags": _columns(images=["a.png", "b.png"]),
    "bad-media": lambda row, _: _with_image(row, 5),
    "bad-box": lambda row, _: _boxed(row),
    "empty-rejected": _columns(rejected_response=" "),
    "label-type": _columns(label=1),
    "several-answers": _only(query="Name a river of the far south.", answer=["Ro", "Tile"]),
    "bad-preference": _columns(rejected_response=7),
    "bad-label": lambda row, _: {**row, "messages": row["messages"][:7], "label": True},
    "media-missing": _content(0, "<image>{}"),
    "long-row": _long,
    "mixed-column": _columns(id=["a", "list"]),
}
"""For each code the change that makes a clean row a faulty one."""


def _near(row: Row, _: random.Random) -> Row:
    row["id"] = "near"
    row["messages"][3]["content"] += " Anything else?"
    return row


def _copy(row: Row, _: random.Random) -> Row:
    return {**row, "id": "copy"}


def _same_id(row: Row, rng: random.Random) -> Row:
    return {**clean_rows(1, rng)[0], "id": row["id"]}


def _untyped(row: Row, days: Any) -> Row:
    """A row whose tool says nothing about the argument."""
    call = {"name": "look_up", "arguments": {"days": days}}
    row["messages"][1:] = [{"role": "tool_call", "content": json.dumps(call)}]
    row["tools"] = [{"name": "look_up", "description": "Looks up.", "parameters": {}}]
    return row


def _other_type(_: Row, rng: random.Random) -> Row:
    return _untyped({**clean_rows(1, rng)[0], "id": "other type"}, "five")


TWINS: dict[str, Plant] = {
    "duplicate-row": _copy,
    "near-duplicate": _near,
    "duplicate-id": _same_id,
    "mixed-argument": _other_type,
}
"""For each code the change that makes of a row a second one with the fault."""


def main() -> None:
    """Writes the corpus into a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=400)
    parser.add_argument("--seed", type=int, default=7)
    given = parser.parse_args()
    faults = write(given.folder, clean_rows(given.rows, random.Random(given.seed + 1)), given.seed)
    print(
        f"{len(faults)} faults of {len({fault.code for fault in faults})} kinds in {given.folder}"
    )


if __name__ == "__main__":
    main()
