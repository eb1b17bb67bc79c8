"""Data sets that people name without a hub: where each lies, and what its rows need first."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON
from toolgrove.data.fields import as_list, as_object, parse_loose, show

Mend = Callable[[Mapping[str, Any]], JSON]


@dataclass(frozen=True, slots=True)
class Known:
    """A data set: its repository, its subset where it has several, and what its rows need.

    ``mend`` turns a row into one of a known format; None where the rows have one as they are.
    """

    source: str
    subset: str | None = None
    mend: Mend | None = None


def known(name: str) -> Known | None:
    """The data set of this name, capitals and ``-`` for ``_`` alike; None where there is none."""
    return _KNOWN.get(_plain(name))


def known_names() -> list[str]:
    """The names of all data sets."""
    return list(_NAMES)


def mend_for(source: str) -> Mend | None:
    """What the rows of a repository (``ms:org/name``) need first, by whatever name it was given."""
    found = (entry.mend for entry in _NAMES.values() if entry.source == source)
    return next(found, None)


def _plain(name: str) -> str:
    return name.lower().replace("-", "_")


def _agent_instruct(row: Mapping[str, Any]) -> JSON:
    """The conversations are printed lists of objects without commas between them."""
    value = row.get("conversations")
    if not isinstance(value, str):
        return dict(row)
    try:
        turns = parse_loose(value.replace("}\n {", "},\n {"))
    except ValueError:
        raise DataError(f"conversations: not a list: {show(value)}") from None
    return {**row, "conversations": turns}


_ROOM_RULES = "This is a chat room: speak for yourself only, to everybody, and keep it short."


def _multi_role(row: Mapping[str, Any]) -> JSON:
    """A chat room of named speakers: the last one's words are learnt, what was said before is
    told to it."""
    turns = [as_object(item) for item in as_list(row.get("conversations")) or []]
    if len(turns) < 2 or any(turn is None for turn in turns):
        raise DataError("conversations: at least two turns of a chat room are needed")
    said = [(str(turn.get("from")), str(turn.get("value"))) for turn in cast(list[JSON], turns)]
    roles = {name for name, _ in said}
    if roles <= {"system", "user", "assistant", "human", "gpt"}:
        return dict(row)
    system = said.pop(0)[1] if said[0][0] == "system" else ""
    speaker, reply = said.pop()
    history = "\n".join(f"{name}: {text}" for name, text in said)
    rules = "\n\n".join(part for part in (system, _ROOM_RULES) if part)
    rest = {key: value for key, value in row.items() if key != "conversations"}
    messages = [
        {"role": "system", "content": rules},
        {"role": "user", "content": f"{history}\n\n{speaker}:".lstrip()},
        {"role": "assistant", "content": reply},
    ]
    return {**rest, "messages": messages}


_NAMES: dict[str, Known] = {
    "ms_agent": Known("ms:iic/ms_agent"),
    "ms_bench": Known("ms:iic/ms_bench"),
    "ms_agent_for_agentfabric": Known("ms:AI-ModelScope/ms_agent_for_agentfabric"),
    "function-calling-chatml": Known("hf:Locutusque/function-calling-chatml"),
    "MSAgent-Pro": Known("ms:iic/MSAgent-Pro"),
    "MSAgent-MultiRole": Known("ms:iic/MSAgent-MultiRole", mend=_multi_role),
    "ToolBench": Known("ms:swift/ToolBench"),
    "xlam-function-calling-60k": Known("hf:Salesforce/xlam-function-calling-60k", "dataset"),
    "AgentInstruct": Known("ms:huangjintao/AgentInstruct_copy", mend=_agent_instruct),
}
_KNOWN = {_plain(name): entry for name, entry in _NAMES.items()}
