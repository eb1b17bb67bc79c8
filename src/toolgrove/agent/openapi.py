"""The operations of an OpenAPI document as tools: each call is one HTTP request."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urljoin
from urllib.request import Request, urlopen

from toolgrove.agent.results import MOST_CHARS, binary
from toolgrove.agent.tools import CallError, RunnableTool
from toolgrove.core.errors import ToolError
from toolgrove.core.messages import JSON, Tool

_METHODS = ("get", "head", "options", "put", "post", "patch", "delete")
_READING = frozenset({"get", "head", "options"})
_DEEPEST = 12
_MOST_BYTES = 8 * MOST_CHARS
_BODY = "body"
_JSON_TYPE = re.compile(r"application/([\w.+-]+\+)?json")
_TEXT_TYPE = re.compile(r"text/|application/([\w.+-]+\+)?(json|xml|yaml|javascript)")


class _Place(NamedTuple):
    """Where an argument goes: path, query, header, cookie, or a field of the body; ``wire`` is its
    name there."""

    where: str
    wire: str


@dataclass(frozen=True, slots=True)
class _Operation:
    """One operation: what is requested, and where its arguments go. ``whole``: the argument
    ``body`` is the body itself."""

    method: str
    path: str
    places: Mapping[str, _Place]
    whole: bool
    tool: Tool


@dataclass
class OpenApi:
    """The operations of a document (OpenAPI 3) as tools.

    GET, HEAD and OPTIONS only read. ``base_url``: where the server is, instead of the document's
    own first server; ``headers`` are sent with each request, a key for instance. ToolError for a
    document without operations or without an address.
    """

    document: JSON
    name: str
    base_url: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    place: str = ""
    """where the document came from: relative servers are meant from there"""

    def __post_init__(self) -> None:
        servers = self.document.get("servers") or [{}]
        given = self.base_url or str(servers[0].get("url", ""))
        for name, variable in (servers[0].get("variables") or {}).items():
            given = given.replace(f"{{{name}}}", str(variable.get("default", "")))
        self.base_url = urljoin(self.place, given) if self.place else given
        if not self.base_url.startswith(("http://", "https://")):
            raise ToolError(
                "the document names no server",
                where=self.name,
                hint='add "servers": [{"url": "https://..."}]',
            )
        operations = list(_operations(self.document))
        if not operations:
            raise ToolError('no operations under "paths"', where=self.name)
        self.tools = [
            RunnableTool(
                operation.tool,
                self._caller(operation),
                reads_only=operation.method in _READING,
                source=self.name,
            )
            for operation in operations
        ]

    def stop(self) -> None:
        """Requests end by their time-outs."""

    def close(self) -> None:
        """Nothing is held."""

    def _caller(self, operation: _Operation) -> Callable[[JSON, float], str]:
        def call(arguments: JSON, timeout_s: float) -> str:
            return _answer(self._request(operation, arguments), timeout_s)

        return call

    def _request(self, operation: _Operation, arguments: JSON) -> Request:
        path, query, headers = operation.path, list[tuple[str, str]](), dict(self.headers)
        cookies: list[str] = []
        body: Any = {}
        for name, value in arguments.items():
            place = operation.places.get(name)
            if place is None:
                raise CallError(f'the operation has no parameter "{name}"')
            if place.where == "path":
                path = path.replace(f"{{{place.wire}}}", quote(_written(value), safe=""))
            elif place.where == "query":
                items = cast("list[Any]", value) if isinstance(value, list) else [value]
                query += [(place.wire, _written(item)) for item in items]
            elif place.where == "header":
                headers[place.wire] = _written(value)
            elif place.where == "cookie":
                cookies.append(f"{place.wire}={quote(_written(value), safe='')}")
            elif operation.whole:
                body = value
            else:
                body[place.wire] = value
        url = self.base_url.rstrip("/") + path + (f"?{urlencode(query)}" if query else "")
        if cookies:
            headers["Cookie"] = "; ".join(cookies)
        data = None
        if body or operation.whole:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        headers.setdefault("Accept", "application/json, text/*;q=0.9, */*;q=0.5")
        return Request(url, data, headers, method=operation.method.upper())


def is_openapi(value: Any) -> bool:
    """Whether a document is one of OpenAPI 3."""
    return isinstance(value, dict) and "openapi" in value and "paths" in value


def _operations(document: JSON) -> Iterator[_Operation]:
    names: set[str] = set()
    for path, given in (document.get("paths") or {}).items():
        item = _resolved(given, document)
        for method in _METHODS:
            operation = item.get(method)
            if not isinstance(operation, dict):
                continue
            shared = [*item.get("parameters", ()), *operation.get("parameters", ())]
            made = _operation(document, path, method, {**operation, "parameters": shared})
            if made.tool.name in names:
                raise ToolError(
                    f'two operations are named "{made.tool.name}"',
                    hint="give each its own operationId",
                )
            names.add(made.tool.name)
            yield made


def _operation(document: JSON, path: str, method: str, given: JSON) -> _Operation:
    """``given``: the operation, with the parameters that its path has for all operations."""
    places: dict[str, _Place] = {}
    properties: JSON = {}
    required: list[str] = []
    for entry in given.get("parameters") or []:
        parameter = _resolved(entry, document)
        wire, where = parameter["name"], parameter["in"]
        schema = _resolved(parameter.get("schema") or {"type": "string"}, document)
        if parameter.get("description"):
            schema = {**schema, "description": parameter["description"]}
        places[wire], properties[wire] = _Place(where, wire), schema
        if parameter.get("required") or where == "path":
            required.append(wire)
    body = _body(document, given)
    whole = body is not None and (
        body.get("type") != "object" or bool(set(body.get("properties", {})) & set(places))
    )
    if body is not None and whole:
        places[_BODY], properties[_BODY] = _Place(_BODY, _BODY), body
        required.append(_BODY)
    elif body is not None:
        for name, schema in body.get("properties", {}).items():
            places[name], properties[name] = _Place(_BODY, name), schema
        required += body.get("required", [])
    name = given.get("operationId") or f"{method}_{path.strip('/')}"
    schema = {"type": "object", "properties": properties}
    if required:
        schema["required"] = list(dict.fromkeys(required))
    about = "\n".join(filter(None, (given.get("summary"), given.get("description"))))
    function = {"name": _plain_name(name), "description": about, "parameters": schema}
    return _Operation(method, path, places, whole, Tool({"type": "function", "function": function}))


def _body(document: JSON, operation: JSON) -> JSON | None:
    content = _resolved(operation.get("requestBody") or {}, document).get("content") or {}
    for kind, media in content.items():
        if _JSON_TYPE.match(kind):
            return _resolved(media.get("schema") or {}, document)
    if content:
        name = operation.get("operationId", "an operation")
        raise ToolError(
            f'"{name}" takes no JSON but {", ".join(content)}',
            hint="leave the operation out of the document",
        )
    return None


def _resolved(value: Any, document: JSON, depth: int = 0) -> Any:
    """The value with its references within the document put in; one that is too deep, or leads
    back to itself, becomes a value of any kind."""
    if isinstance(value, list):
        return [_resolved(item, document, depth) for item in cast("list[Any]", value)]
    if not isinstance(value, dict):
        return value
    found = cast(JSON, value)
    reference = found.get("$ref")
    if isinstance(reference, str):
        if depth == _DEEPEST:
            return {}
        target: Any = document
        for key in reference.removeprefix("#/").split("/"):
            key = key.replace("~1", "/").replace("~0", "~")
            if not reference.startswith("#/") or not isinstance(target, dict) or key not in target:
                raise ToolError(f'the reference "{reference}" leads nowhere in this document')
            target = target[key]
        return _resolved(target, document, depth + 1)
    return {key: _resolved(inner, document, depth) for key, inner in found.items()}


def _plain_name(name: str) -> str:
    """A name that every dialect can write."""
    return re.sub(r"[^A-Za-z0-9_-]+", "_", name).strip("_") or "call"


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _answer(request: Request, timeout_s: float) -> str:
    try:
        with urlopen(request, timeout=timeout_s) as reply:  # the address was checked
            data = reply.read(_MOST_BYTES + 1)
            kind = str(reply.headers.get("Content-Type", ""))
            size = int(reply.headers.get("Content-Length") or len(data))
    except HTTPError as error:
        said = error.read(_MOST_BYTES).decode("utf-8", "replace").strip()
        raise CallError(f"status {error.code} {error.reason}: {said}") from error
    except (URLError, OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise CallError(f"no answer: {reason}") from error
    if kind and not _TEXT_TYPE.match(kind):
        return binary(size, kind.partition(";")[0])
    text = data[:_MOST_BYTES].decode("utf-8", "replace")
    return text if len(data) <= _MOST_BYTES else f"{text}\n[... {size:,} bytes in all]"
