"""Recorded traffic of OpenAI's chat API as rows: a request with its response, whole or streamed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON
from toolgrove.data.fields import as_list, as_object, bad, describe, dump, parse_json, show
from toolgrove.data.rows import Row

_REQUESTS = ("request", "request_body", "kwargs")
_RESPONSES = ("response", "response_body", "completion", "chunks", "stream", "events")
_MOST = 1024
"""More choices or calls than any reply has."""
_HINT = 'a line is {"request": {"messages": [...]}, "response": {"choices": [...]}}'
_KEPT = ("role", "content", "reasoning_content", "tool_calls", "function_call")
_CUT_OFF = {
    "length": "the reply was cut off at the limit of tokens",
    "content_filter": "the reply was cut by a content filter",
}


class _Said(NamedTuple):
    """A row of a session, and what its messages say without their thinking."""

    row: Row
    keys: tuple[str, ...]


def log_rows(entry: Row) -> list[Row]:
    """The rows of one recorded exchange: one for each choice of its response.

    DataError for a failed request, a reply that was cut off, and a line that is no exchange.
    """
    request = _request(entry.value)
    listed = as_list(request.get("messages"))
    if not listed:
        raise bad("request", "no messages", "chat completions are read; " + _HINT)
    odd = next((item for item in listed if as_object(item) is None), None)
    if odd is not None:
        raise bad("request.messages", f"a message that is no object but {describe(odd)}")
    columns = {name: request[name] for name in ("tools", "functions") if request.get(name)}
    response = _response(entry.value)
    for name in ("id", "model"):
        value = response.get(name) or request.get(name)
        if value is not None:
            columns[name] = value
    choices = as_list(response.get("choices")) or []
    return [
        Row({"messages": [*listed, _reply(choice, f"choices[{i}]")], **columns}, entry.where)
        for i, choice in enumerate(choices)
    ]


def sessions(rows: Iterable[Row]) -> Iterator[Row]:
    """The rows, without those that a later one goes on from: a session is one row.

    A row goes on from another when its messages begin with all of the other's, thinking left out
    of the comparison: clients do not send it back. What was thought then stands in the later row.
    Rows stay in their order. Needs the whole log in memory.
    """
    said = [_Said(row, _keys(row.value)) for row in rows]
    ends = {one.keys[-1]: index for index, one in enumerate(said)}
    thoughts: dict[str, Any] = {}
    gone: set[int] = set()
    for index, one in enumerate(said):
        for key in one.keys[:-1]:
            earlier = ends.get(key)
            if earlier is not None and earlier != index:
                gone.add(earlier)
        thought = one.row.value["messages"][-1].get("reasoning_content")
        if thought is not None:
            thoughts[one.keys[-1]] = thought
        if ends[one.keys[-1]] != index:
            gone.add(index)
    for index, one in enumerate(said):
        if index not in gone:
            yield Row(_with_thoughts(one, thoughts), one.row.where)


def _with_thoughts(one: _Said, thoughts: Mapping[str, Any]) -> JSON:
    messages: list[Any] = []
    for message, key in zip(one.row.value["messages"], one.keys, strict=True):
        thought = thoughts.get(key)
        known = any(message.get(name) is not None for name in ("reasoning_content", "reasoning"))
        if thought is not None and message.get("role") == "assistant" and not known:
            message = {**message, "reasoning_content": thought}
        messages.append(message)
    return {**one.row.value, "messages": messages}


def _keys(row: JSON) -> tuple[str, ...]:
    """For each message what was said up to it, in a few characters."""
    import hashlib

    offered = dump([row.get("tools"), row.get("functions")])
    digest = hashlib.sha256(offered.encode())
    keys: list[str] = []
    for message in row["messages"]:
        given = as_object(message) or {}
        calls = [
            ((as_object(call) or {}).get("id"), (as_object(call) or {}).get("function"))
            for call in as_list(given.get("tool_calls")) or ()
        ]
        content = given.get("content") or ""
        said = [given.get("role"), content, given.get("tool_call_id"), calls]
        digest.update(dump(said).encode())
        keys.append(digest.hexdigest())
    return tuple(keys)


def _request(row: JSON) -> JSON:
    for name in _REQUESTS:
        request = _body(row.get(name), name)
        if request is not None:
            return request
    if as_list(row.get("messages")) is not None:
        return row
    raise DataError("no recorded request", hint=_HINT)


def _body(value: Any, path: str) -> JSON | None:
    """The body of a request or response, which may be JSON text, or lie in ``body``."""
    if isinstance(value, str):
        try:
            value = parse_json(value)
        except ValueError as error:
            raise bad(path, f"not JSON ({error}): {show(value)}") from None
    found = as_object(value)
    if found is None or "body" not in found or "messages" in found or "choices" in found:
        return found
    return _body(found["body"], f"{path}.body")


def _response(row: JSON) -> JSON:
    name = next((name for name in _RESPONSES if row.get(name) is not None), None)
    if name is None:
        raise DataError("no recorded response", hint=_HINT)
    value = row[name]
    status = (as_object(value) or {}).get("status_code", row.get("status_code"))
    value = _unwrapped(value)
    if isinstance(value, str):
        value = (
            _events(value, name)
            if value.lstrip().startswith(("data:", "event:", ":"))
            else (_body(value, name))
        )
    chunks = as_list(value)
    if chunks is not None:
        return _joined(chunks, name)
    response = as_object(value)
    if response is None:
        raise bad(name, f"no response but {describe(value)}", _HINT)
    failed = response.get("error")
    if failed or (isinstance(status, int) and status >= 400):
        raise bad(name, f"the request failed: {show(dump(failed or status))}")
    if not as_list(response.get("choices")):
        raise bad(name, "a response without choices", _HINT)
    return response


def _unwrapped(value: Any) -> Any:
    """The body inside a recorded response; chunks of a stream under a name of their own."""
    found = as_object(value)
    if found is None or "choices" in found or "error" in found:
        return value
    for name in ("body", "chunks", "stream", "events"):
        if found.get(name) is not None:
            return _unwrapped(found[name])
    return value


def _events(text: str, path: str) -> list[Any]:
    """The chunks of a stream of server-sent events."""
    chunks: list[Any] = []
    ended = False
    for line in text.splitlines():
        data = line.removeprefix("data:").strip()
        if not line.startswith("data:") or not data:
            continue
        if data == "[DONE]":
            ended = True
            continue
        try:
            chunks.append(parse_json(data))
        except ValueError as error:
            raise bad(path, f"a chunk that is not JSON ({error}): {show(data)}") from None
    if not ended and not _finished(chunks):
        raise bad(path, "the stream ends before the reply does", "the reply was cut off")
    return chunks


def _finished(chunks: Sequence[Any]) -> bool:
    return any(choice.get("finish_reason") for chunk in chunks for choice in _choices(chunk))


def _choices(chunk: Any) -> list[JSON]:
    listed = as_list((as_object(chunk) or {}).get("choices")) or []
    return [choice for item in listed if (choice := as_object(item)) is not None]


def _joined(chunks: Sequence[Any], path: str) -> JSON:
    """The response that a stream's chunks add up to."""
    read = [_chunk(item, f"{path}[{i}]") for i, item in enumerate(chunks) if item != "[DONE]"]
    failed = next((chunk["error"] for chunk in read if chunk.get("error")), None)
    if failed:
        raise bad(path, f"the request failed: {show(dump(failed))}")
    if not _finished(read):
        raise bad(path, "the stream ends before the reply does", "the reply was cut off")
    replies: dict[int, JSON] = {}
    reasons: dict[int, Any] = {}
    for chunk in read:
        for choice in _choices(chunk):
            index = _index(choice.get("index", 0), path)
            reply = replies.setdefault(index, {"role": "assistant"})
            _add_delta(reply, as_object(choice.get("delta")) or {}, path)
            reasons[index] = choice.get("finish_reason") or reasons.get(index)
    first = read[0]
    listed = [{"message": replies[i], "finish_reason": reasons[i]} for i in sorted(replies)]
    return {"id": first.get("id"), "model": first.get("model"), "choices": listed}


def _chunk(item: Any, path: str) -> JSON:
    if isinstance(item, str):
        try:
            item = parse_json(item.removeprefix("data:"))
        except ValueError as error:
            raise bad(path, f"a chunk that is not JSON ({error}): {show(item)}") from None
    chunk = as_object(item)
    if chunk is None:
        raise bad(path, f"a chunk that is no object but {describe(item)}")
    return chunk


def _add_delta(reply: JSON, delta: JSON, path: str) -> None:
    for key in ("content", "reasoning_content", "reasoning"):
        if isinstance(delta.get(key), str):
            name = "reasoning_content" if key == "reasoning" else key
            if key == "reasoning" and isinstance(delta.get("reasoning_content"), str):
                continue
            reply[name] = (reply.get(name) or "") + delta[key]
    older = as_object(delta.get("function_call"))
    if older is not None:
        _add_call(cast(JSON, reply.setdefault("function_call", {})), older)
    for place, item in enumerate(as_list(delta.get("tool_calls")) or ()):
        part = as_object(item)
        if part is None:
            raise bad(path, f"a part of a call that is no object: {show(item)}")
        calls = cast(list[JSON], reply.setdefault("tool_calls", []))
        index = _index(part.get("index", place), path)
        while len(calls) <= index:
            calls.append({"type": "function", "function": {}})
        if part.get("id"):
            calls[index]["id"] = part["id"]
        _add_call(cast(JSON, calls[index]["function"]), as_object(part.get("function")) or {})


def _index(value: Any, path: str) -> int:
    """The place of a choice or of a call in a reply."""
    if value is None:
        return 0
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise bad(path, f"an index that is none: {describe(value)}")
    return value


def _add_call(function: JSON, part: JSON) -> None:
    if part.get("name"):
        function["name"] = part["name"]
    text = part.get("arguments") or ""
    if not isinstance(text, str):
        raise bad("arguments", f"a piece of text was expected, found {describe(text)}")
    function["arguments"] = function.get("arguments", "") + text


def _reply(choice: Any, path: str) -> JSON:
    """The message of a choice, with what a row keeps of it."""
    given = as_object(choice) or {}
    reason = given.get("finish_reason")
    if reason in _CUT_OFF:
        raise bad(path, _CUT_OFF[reason], "leave it out with --on-bad-row skip")
    message = as_object(given.get("message"))
    if message is None:
        raise bad(path, f"a choice without a message: {show(json.dumps(choice, default=str))}")
    if message.get("reasoning") and not message.get("reasoning_content"):
        message = {**message, "reasoning_content": message["reasoning"]}
    kept = {key: message[key] for key in _KEPT if message.get(key) not in (None, [])}
    if "content" in message:
        kept.setdefault("content", message["content"])
    refusal = message.get("refusal")
    if refusal and not kept.get("content"):
        kept["content"] = refusal
    return {"role": "assistant", **kept}
