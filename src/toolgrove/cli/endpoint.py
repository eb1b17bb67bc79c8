"""A live OpenAI-compatible server, asked which tokens it makes of a conversation."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from toolgrove.core.errors import ModelError, TemplateError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.encoding.compare import Answer
from toolgrove.engine.http import address_of

TIMEOUT_S = 120.0
_UNKNOWN_PATH = (404, 405, 501)
_REFUSED = (400, 413, 422)
_HELLO = Conversation((Message(Role.USER, "Hello"),))


class Server:
    """Asks ``POST /tokenize`` as vLLM has it, which tells the ids; where a server does not know
    it, a completion of one token, which tells how many there are.

    ModelError when there is no server, it denies access or tells neither.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        api_key: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        address = address_of(url, api_key)
        self.url, self._headers = address.url, address.headers
        self._options = dict(options or {})
        self.model = model or self._first_model()
        self.tells_ids = self._tells_ids()
        try:
            self.ask(_HELLO)
        except TemplateError as error:
            raise ModelError(
                f"the server refuses a plain question: {error.what}", where=self.url
            ) from error

    def ask(self, conv: Conversation) -> Answer:
        """The prompt that the server makes; TemplateError when it refuses the conversation."""
        if self.tells_ids:
            answer = self._post("/tokenize", {**self._body(conv), "add_generation_prompt": True})
            ids = _ids(answer)
            if ids is None:
                raise self._odd("/tokenize", answer)
            return Answer(len(ids), ids)
        path = "/v1/chat/completions"
        answer = self._post(path, {**self._body(conv), "max_tokens": 1, "temperature": 0})
        usage: Any = answer.get("usage")
        count: Any = usage.get("prompt_tokens") if isinstance(usage, dict) else None
        if not isinstance(count, int):
            raise self._odd(path, answer)
        return Answer(count)

    def _body(self, conv: Conversation) -> JSON:
        body: JSON = {"model": self.model, "messages": [_wire(m) for m in conv.messages]}
        if conv.tools:
            body["tools"] = [tool.spec for tool in conv.tools]
        return {**body, "chat_template_kwargs": self._options} if self._options else body

    def _tells_ids(self) -> bool:
        try:
            answer = self._post("/tokenize", {**self._body(_HELLO), "add_generation_prompt": True})
        except (_UnknownPathError, TemplateError):
            return False
        return bool(_ids(answer))

    def _first_model(self) -> str:
        try:
            known: Any = self._send(Request(f"{self.url}/v1/models", headers=self._headers))
            return str(known["data"][0]["id"])
        except (_UnknownPathError, TemplateError, KeyError, IndexError, TypeError):
            return "default"

    def _post(self, path: str, body: JSON) -> JSON:
        data = json.dumps(body).encode()
        answer = self._send(Request(f"{self.url}{path}", data, self._headers))
        if not isinstance(answer, dict):
            raise self._odd(path, answer)
        return answer

    def _send(self, request: Request) -> Any:
        try:
            with urlopen(request, timeout=TIMEOUT_S) as reply:  # the address was checked
                return json.loads(reply.read())
        except HTTPError as error:
            raise self._error(error) from error
        except ValueError as error:
            raise self._odd(request.selector, str(error)) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise ModelError(
                f"no answer: {reason}", where=self.url, hint="is the server running there?"
            ) from error

    def _error(self, error: HTTPError) -> Exception:
        said = _said(error.read())
        if error.code in _UNKNOWN_PATH and self.url and "model" not in said:
            return _UnknownPathError(f"the server does not know this path: {said}", where=error.url)
        if error.code in _REFUSED:
            return TemplateError(said or f"status {error.code}")
        hints = {401: "give --api_key", 403: "give --api_key", 404: "give --served_model"}
        what = f"the server answered with status {error.code}" + (f": {said}" if said else "")
        return ModelError(what, where=error.url, hint=hints.get(error.code, "see its log"))

    def _odd(self, path: str, answer: Any) -> ModelError:
        return ModelError(
            f"neither tokens nor a count in the answer: {str(answer)[:200]}",
            where=f"{self.url}{path}",
            hint="the server should be OpenAI-compatible, such as vLLM's",
        )


class _UnknownPathError(ModelError):
    """A path that the server does not have."""


def _ids(answer: JSON) -> list[int] | None:
    tokens: Any = answer.get("tokens")
    whole = isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)
    return tokens if whole else None


def _said(body: bytes) -> str:
    """The message in an error's body, on one line, at most 200 characters long, without the values
    that pydantic quotes, which differ from one conversation to the next."""
    text = body.decode("utf-8", "replace")
    try:
        value: Any = json.loads(text)
    except ValueError:
        value = text
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return " ".join(str(value).split()).partition(" [type=")[0][:200]


def _wire(message: Message) -> JSON:
    """The message as OpenAI's interface takes it: arguments are JSON text."""
    entry: JSON = {"role": str(message.role)}
    if message.has_content or message.role is not Role.ASSISTANT:
        entry["content"] = message.content
    if message.thinking is not None:
        entry["reasoning_content"] = message.thinking
    if message.name is not None:
        entry["name"] = message.name
    if message.call_id is not None:
        entry["tool_call_id"] = message.call_id
    if message.calls:
        entry["tool_calls"] = [
            {
                **({} if call.id is None else {"id": call.id}),
                "type": "function",
                "function": {"name": call.name, "arguments": dump(call.arguments)},
            }
            for call in message.calls
        ]
    return entry
