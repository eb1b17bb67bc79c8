"""A server with OpenAI's chat API as a speaker."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from toolgrove.agent.remote import first_model, wire
from toolgrove.core.errors import ModelError
from toolgrove.core.jsonish import dump, loads_object
from toolgrove.core.messages import JSON, Conversation, Message, Reply, Role, ToolCall
from toolgrove.engine.http import address_of
from toolgrove.eval.speakers import Said, unanswered

_REFUSED = (400, 413, 422)
_AGAIN = (408, 429, 500, 502, 503, 504)
_WAITS_S = (1.0, 4.0, 15.0)
_PLAIN = re.compile(r"[^a-zA-Z0-9_-]")
_LONGEST_NAME = 64


class UrlSpeaker:
    """Asks ``POST /v1/chat/completions``, temperature 0; may be used from several threads.

    Names of tools that OpenAI's API does not allow (``a.b``) are sent with ``_`` for what is not
    allowed and read back as they were. Answers 408, 429 and 5xx are asked again after 1, 4 and
    15 s; a conversation that the server refuses (400, 413, 422) is an answer with a fault.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        api_key: str | None = None,
        max_new_tokens: int = 512,
        timeout_s: float = 600.0,
    ) -> None:
        address = address_of(url, api_key)
        self.url, self._headers = address.url, address.headers
        self._max_new_tokens = max_new_tokens
        self._timeout_s = timeout_s
        self.model = model or first_model(f"{self.url}/v1", api_key)

    def answer(self, asked: Sequence[Conversation]) -> list[Said]:
        """The answers, asked for one after the other."""
        return [self._one(conversation) for conversation in asked]

    def _one(self, conversation: Conversation) -> Said:
        names = plain_names([tool.name for tool in conversation.tools])
        body: JSON = {
            "model": self.model,
            "messages": _messages(conversation, names),
            "temperature": 0,
            "max_tokens": self._max_new_tokens,
        }
        if conversation.tools:
            body["tools"] = [_tool(tool.spec, tool.function, names) for tool in conversation.tools]
        try:
            answer = self._post(body)
        except _RefusedError as error:
            return unanswered(f"the server refused it: {error.what}")
        return said_of(answer, {sent: name for name, sent in names.items()}, self.url)

    def _post(self, body: JSON) -> Any:
        data = json.dumps(body, ensure_ascii=False).encode()
        for wait in (*_WAITS_S, None):
            try:
                path = f"{self.url}/v1/chat/completions"
                return self._send(Request(path, data, self._headers))
            except _BusyError as error:
                if wait is None:
                    raise ModelError(error.what, where=self.url, hint="see its log") from error
                time.sleep(wait)
        raise ModelError("no answer", where=self.url)

    def _send(self, request: Request) -> Any:
        try:
            with urlopen(request, timeout=self._timeout_s) as reply:  # the address was checked
                return json.loads(reply.read())
        except HTTPError as error:
            text = " ".join(error.read().decode("utf-8", "replace").split())[:300]
            if error.code in _REFUSED:
                raise _RefusedError(text or f"status {error.code}") from error
            if error.code in _AGAIN:
                raise _BusyError(f"the server answered with status {error.code}: {text}") from error
            hint = {401: "give --api_key", 403: "give --api_key"}.get(error.code, "see its log")
            what = f"the server answered with status {error.code}: {text}"
            raise ModelError(what, where=self.url, hint=hint) from error
        except ValueError as error:
            raise ModelError(f"not JSON: {error}", where=self.url) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise ModelError(
                f"no answer: {reason}", where=self.url, hint="is the server running there?"
            ) from error


class _RefusedError(ModelError):
    """A conversation that the server does not take."""


class _BusyError(ModelError):
    """An answer that another try may change."""


def plain_names(names: Sequence[str]) -> dict[str, str]:
    """Each name as OpenAI's API allows it, no two of them alike."""
    plain: dict[str, str] = {}
    for name in names:
        sent = base = _PLAIN.sub("_", name)[:_LONGEST_NAME]
        number = 2
        while sent in plain.values():
            sent = f"{base[: _LONGEST_NAME - 3]}_{number}"
            number += 1
        plain[name] = sent
    return plain


def said_of(answer: Any, names: Mapping[str, str], where: str) -> Said:
    """The first choice of a response; a call whose arguments are no JSON object stays text."""
    try:
        choice = answer["choices"][0]
        message = choice["message"]
        entries = message.get("tool_calls") or []
        content = message.get("content") or ""
        thinking = message.get("reasoning_content") or message.get("reasoning")
    except (KeyError, IndexError, TypeError, AttributeError):
        raise ModelError(f"no choice in the answer: {str(answer)[:200]}", where=where) from None
    calls: list[ToolCall] = []
    broken = ""
    for entry in entries:
        function = entry.get("function") or {}
        name, given = str(function.get("name")), function.get("arguments") or "{}"
        try:
            arguments = loads_object(given) if isinstance(given, str) else dict(given)
        except ValueError:
            broken += f"{name}({given})"
            continue
        calls.append(ToolCall(names.get(name, name), arguments, id=entry.get("id")))
    reply = Reply(thinking, content + broken, tuple(calls), complete=not broken)
    ended = choice.get("finish_reason") != "length"
    return Said(reply, dump(message), ended)


def _tool(spec: JSON, function: JSON, names: Mapping[str, str]) -> JSON:
    sent = {**function, "name": names[str(function["name"])]}
    return {**spec, "function": sent} if "function" in spec else {"type": "function", **sent}


def _messages(conversation: Conversation, names: Mapping[str, str]) -> list[JSON]:
    """The messages as the server takes them, tools under the names that they are sent with."""
    named = wire(replace(conversation, messages=tuple(_with_ids(conversation.messages))))
    for message in named:
        if "name" in message:
            message["name"] = names.get(message["name"], message["name"])
        for call in message.get("tool_calls", ()):
            function = call["function"]
            function["name"] = names.get(function["name"], function["name"])
    return named


def _with_ids(messages: Sequence[Message]) -> list[Message]:
    """The messages with ids where calls have none: a result answers the first open call."""
    open_ids: list[str] = []
    made: list[Message] = []
    for index, message in enumerate(messages):
        if message.calls:
            calls = tuple(
                call if call.id else replace(call, id=f"call{index:04}{number:02}")
                for number, call in enumerate(message.calls)
            )
            open_ids = [str(call.id) for call in calls]
            message = replace(message, calls=calls)
        elif message.role is Role.TOOL:
            own = message.call_id or (open_ids[0] if open_ids else f"call{index:04}")
            open_ids = [other for other in open_ids if other != own]
            message = replace(message, call_id=own)
        made.append(message)
    return made
