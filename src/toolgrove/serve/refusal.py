"""Requests that are not answered, told in the shape of OpenAI's errors."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from toolgrove.core.errors import ToolgroveError, did_you_mean
from toolgrove.core.messages import JSON

_NAMED = re.compile(r'"(\w+)"')
INVALID = "invalid_request_error"
_TYPES = {
    401: "authentication_error",
    408: "timeout_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "timeout_error",
}


class RefusedError(Exception):
    """Why a request is not answered: its status, what is wrong, and with which field."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    def body(self) -> JSON:
        """The body of the response."""
        return {
            "error": {
                "message": self.message,
                "type": _TYPES.get(self.status, INVALID),
                "param": self.param,
                "code": self.code,
            }
        }


def refusal_of(error: ToolgroveError, param: str | None = None) -> RefusedError:
    """A mistake in a request, found by a part of ours that knows nothing of HTTP."""
    message = str(error).replace("\n  hint: ", "; ")
    return RefusedError(400, message, param=param or error.where)


def invalid(problems: Sequence[Mapping[str, Any]], known: Sequence[str]) -> RefusedError:
    """The most telling of what a validator found wrong with a body, in words."""
    first = max(problems, key=lambda one: (one["type"] == "value_error", len(one["loc"])))
    loc = [part for part in first["loc"] if part != "body"]
    param = _path(loc)
    kind = first["type"]
    if kind == "json_invalid":
        where = first.get("ctx", {}).get("error", first["msg"])
        return RefusedError(400, f"the body is not JSON: {where}", code="invalid_json")
    if kind == "extra_forbidden":
        near = did_you_mean(str(loc[-1]), known)
        more = f"; {near}" if near else ""
        return RefusedError(
            400, f'unknown field "{param}"{more}', param=param, code="unknown_field"
        )
    if kind == "missing":
        what = f'"{param}" is missing' if param else "the body is missing"
        return RefusedError(400, what, param=param)
    message = str(first["msg"]).removeprefix("Value error, ")
    named = _NAMED.match(message)
    if named and not param:
        return RefusedError(400, message, param=named[1])
    return RefusedError(400, f"{param}: {message}" if param else message, param=param)


def _path(loc: Sequence[Any]) -> str | None:
    """``messages[2].content``: names and numbers only, not the validator's names of types."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
        elif part.isidentifier() and part not in ("str", "float", "int", "bool"):
            path += f".{part}" if path else part
        elif not path:
            path = str(part)
    return path or None
