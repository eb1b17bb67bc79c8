"""Results of calls as text that a model can read: whatever came back, and never too much of it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple, cast

from toolgrove.core.jsonish import dump

MOST_CHARS = 20_000
"""How much of a result a model is given."""

PRINTED_CHARS = 4000
"""How much of what a tool prints is kept."""

_HEAD = 0.8
_LOOKED_AT = 4096
_ODD_SHARE = 0.1
_PLAIN = "\t\n\r\x0b\x0c\x1b\x08"
_MAGIC = (
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"GIF8", "image/gif"),
    (b"%PDF", "application/pdf"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b", "application/gzip"),
)


class Outcome(NamedTuple):
    """What a call came to: the text that the model reads, and whether it failed."""

    text: str
    error: bool = False


def result_text(value: Any, limit: int = MOST_CHARS) -> str:
    """The value as text: texts as they are, other values as JSON, bytes by their kind and size.

    Law: at most ``limit`` characters and a note; always text that UTF-8 can carry.
    """
    plain = _plain(value)
    return shortened(plain if isinstance(plain, str) else dump(plain), limit)


def shortened(text: str, limit: int = MOST_CHARS) -> str:
    """The beginning and the end of a text that is too long, and between them what is missing."""
    if len(text) <= limit:
        return text
    head = round(limit * _HEAD)
    tail = limit - head
    note = f"\n[... {len(text) - limit:,} of {len(text):,} characters left out ...]\n"
    return text[:head] + note + (text[-tail:] if tail else "")


def binary(size: int, kind: str = "") -> str:
    """What stands for bytes in a result."""
    return f"[binary data: {kind + ', ' if kind else ''}{size:,} bytes]"


def _plain(value: Any) -> Any:
    """The value out of what JSON has."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, bytes | bytearray | memoryview):
        data = bytes(value)
        return binary(
            len(data), next((kind for sign, kind in _MAGIC if data[:8].startswith(sign)), "")
        )
    if isinstance(value, Mapping):
        pairs = cast("Mapping[Any, Any]", value)
        return {str(key): _plain(inner) for key, inner in pairs.items()}
    if isinstance(value, list | tuple | AbstractSet):
        return [_plain(inner) for inner in cast("list[Any]", value)]
    return _of_object(value)


def _of_object(value: Any) -> Any:
    from pydantic_core import PydanticSerializationError, to_jsonable_python

    try:
        return to_jsonable_python(value, bytes_mode="base64", inf_nan_mode="strings")
    except (PydanticSerializationError, ValueError, RecursionError):
        return _text(repr(value))


def _text(text: str) -> str:
    """The text, or what stands for it where it is none; halves of surrogate pairs are replaced."""
    seen = text[:_LOOKED_AT]
    odd = sum(char < " " and char not in _PLAIN for char in seen)
    if odd > len(seen) * _ODD_SHARE:
        return binary(len(text.encode("utf-8", "surrogatepass")))
    return text.encode("utf-8", "replace").decode("utf-8")
