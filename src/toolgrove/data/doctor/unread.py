"""Lines that hold no row, and rows that hold no conversation: which kind of finding each is."""

from __future__ import annotations

import json
import re
from typing import Any

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON
from toolgrove.data.doctor.checks.turns import EMPTY_ANSWER
from toolgrove.data.doctor.findings import At, Found, Kind, Spot, error
from toolgrove.data.fields import as_list, as_object

EMPTY_FILE = error("empty-file", "a file without rows", "write rows into it, or leave it out")
UNREADABLE = error(
    "unreadable-file", "a file that cannot be read to its end", "fetch or write the file again"
)
NOT_JSON = error("not-json", "a line that is not JSON", "write one whole JSON object a line")
CUT_OFF = error(
    "cut-off", "JSON that ends before it is whole", "write the line again: it was cut off"
)
NOT_UTF8 = error("not-utf8", "bytes that are not UTF-8", "save the file as UTF-8")
CONSTANT = error(
    "json-constant", "NaN or Infinity, which JSON does not have", "write null, or leave it out"
)
DUPLICATE_KEY = error(
    "duplicate-key", "an object with the same key twice: one value would be lost", "keep one"
)
TOO_DEEP = error(
    "too-deep", "values nested too deeply to be read", "write them flatter, or as text"
)
NOT_OBJECT = error(
    "not-object", "a row that is no JSON object", 'write an object: {"messages": [...]}'
)
SURROGATE = error(
    "half-surrogate",
    "half of a surrogate pair in a string",
    "write the character itself, or both halves",
)
BAD_RECORD = error(
    "bad-record",
    "a table's record that does not fit its header",
    "quote fields that hold a delimiter or a line end",
)
NO_CONVERSATION = error(
    "no-conversation", "columns that hold no conversation", "rename them: --columns"
)
AMBIGUOUS = error(
    "ambiguous-columns", "two columns that could mean the same", "say which one: --columns"
)
BAD_MESSAGE = error("bad-message", "a message that cannot be read", "write role and content")
BAD_ROLE = error(
    "bad-role",
    "a message whose role is missing or not known",
    "the roles are system, user, assistant, tool_call and tool_response (or tool)",
)
BAD_CALL = error(
    "bad-call",
    "a call that cannot be read",
    'a call is {"name": "...", "arguments": {...}}',
)
BAD_TOOLS = error(
    "bad-tools",
    "tools that cannot be read",
    'tools is a list: [{"type": "function", "function": {"name": ..., "parameters": ...}}]',
)
MEDIA_TAGS = error(
    "media-tags",
    "more tags than media, or fewer: each <image>, <video> and <audio> stands for one of them",
    "write one tag where each of them is shown, and list as many",
)
BAD_PREFERENCE = error(
    "bad-preference",
    "a chosen and a rejected answer that cannot be held against each other",
    "both must answer the same conversation, and differ",
)
BAD_LABEL = error("bad-label", "a verdict that is about nothing", "label the last answer")
BAD_WEIGHT = error(
    "bad-weight", "a loss or loss_scale that is no weight", "true or false; a number from 0 up"
)
BAD_HISTORY = error(
    "bad-history", "earlier rounds that cannot be read", 'history is [["question", "answer"], ...]'
)

_CALL_ROLES = frozenset({"tool_call", "tool-call", "function_call", "function-call"})
_CALL_KEYS = ("tool_calls", "function_call", "arguments", "parameters")
_REJECTED = ("rejected_response", "rejected_messages", "rejected", "chosen")
_LABELS = ("label", "kto_tag")
_ANSWERS = ("ground_truth", "possible_answer", "answers")
_MEDIA = ("images", "image", "videos", "video", "audios", "audio", "objects")
_TABLES = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst")


class _RepeatedKeyError(ValueError):
    """An object has a key twice."""


def kind_of_line(text: str, file: str, undecodable: bool = False) -> Kind:
    """Which kind of finding a line is that holds no row, by its own text."""
    if undecodable or "\ufffd" in text or "\0" in text[:64]:
        return NOT_UTF8
    if file.lower().endswith(_TABLES):
        return BAD_RECORD
    try:
        value = json.loads(text, parse_constant=_constant, object_pairs_hook=_pairs)
    except _RepeatedKeyError:
        return DUPLICATE_KEY
    except json.JSONDecodeError as failure:
        ended = failure.pos >= len(text.rstrip()) or failure.msg.startswith("Unterminated string")
        return CUT_OFF if ended else NOT_JSON
    except RecursionError:
        return TOO_DEEP
    except ValueError:
        return CONSTANT
    if as_object(value) is None:
        return NOT_OBJECT
    return SURROGATE if re.search(r"\\ud[89a-f]", text, re.IGNORECASE) else NOT_JSON


def _constant(name: str) -> Any:
    raise ValueError(name)


def _pairs(pairs: list[tuple[str, Any]]) -> JSON:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise _RepeatedKeyError
    return made


def found_in(row: JSON, failure: DataError) -> Found:
    """What a row is that holds no conversation; the failure's sentence begins with its path."""
    path, colon, rest = failure.what.partition(": ")
    keys = keys_of(path) if colon else ()
    if not keys or (keys[0] not in row and len(keys) == 1):
        keys, rest = (), failure.what
    declared = _kind_of(row, keys, failure.what)
    if "stands twice in one object" in rest:
        return Found(DUPLICATE_KEY, Spot(At(keys=keys), rest, DUPLICATE_KEY.fix))
    in_text = _IN_TEXT.match(failure.what)
    if in_text is not None and declared is NO_CONVERSATION:
        column = next((name for name in _TURNS if as_list(row.get(name))), "messages")
        keys, declared = (column, int(in_text[1])), BAD_MESSAGE
    return Found(declared, Spot(At(keys=keys), rest, failure.hint or ""))


_TURNS = ("messages", "conversations", "conversation")
_IN_TEXT = re.compile(r"message (\d+)\b")
_KEY = re.compile(r"\.?([^.\[\]\s]+)|\[(\d+)\]|\s*\([^)]*\)")


def keys_of(path: str) -> tuple[str | int, ...]:
    """The keys of a path such as ``messages[3].content``; () where it is none."""
    keys: list[str | int] = []
    position = 0
    while position < len(path):
        match = _KEY.match(path, position)
        if match is None:
            return ()
        if match[1] is not None:
            keys.append(match[1])
        elif match[2] is not None:
            keys.append(int(match[2]))
        position = match.end()
    return tuple(keys)


_BY_COLUMN = {
    "tools": BAD_TOOLS,
    "functions": BAD_TOOLS,
    "history": BAD_HISTORY,
    **dict.fromkeys(_REJECTED, BAD_PREFERENCE),
    **dict.fromkeys(_LABELS, BAD_LABEL),
    **dict.fromkeys(_MEDIA, MEDIA_TAGS),
}


def _kind_of(row: JSON, keys: tuple[str | int, ...], what: str) -> Kind:
    if not keys:
        if what.startswith("a label"):
            return BAD_LABEL
        return AMBIGUOUS if "could each be" in what else NO_CONVERSATION
    if keys[0] in _BY_COLUMN:
        return _BY_COLUMN[str(keys[0])]
    if keys[len(keys) - 1] in ("loss", "loss_scale"):
        return BAD_WEIGHT
    return _kind_of_message(row, keys, what)


def _kind_of_message(row: JSON, keys: tuple[str | int, ...], what: str) -> Kind:
    if keys[0] in _ANSWERS:
        return BAD_CALL
    if "without content and without calls" in what:
        return EMPTY_ANSWER
    if "chosen and rejected differ" in what:
        return BAD_PREFERENCE
    items = as_list(row.get(str(keys[0])))
    entry = None
    if items is not None and len(keys) > 1 and isinstance(keys[1], int) and keys[1] < len(items):
        entry = as_object(items[keys[1]])
    role = None if entry is None else entry.get("role", entry.get("from"))
    if keys[len(keys) - 1] in ("role", "from") or (entry is not None and role is None):
        return BAD_ROLE
    if role in _CALL_ROLES or any(key in _CALL_KEYS for key in keys):
        return BAD_CALL
    return BAD_MESSAGE
