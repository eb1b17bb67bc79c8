"""Models behind OpenAI-compatible servers, in the server's own dialect or in ours as text."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from toolgrove.agent.events import Said
from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON, Conversation, Reply, ToolCall
from toolgrove.core.samples import Chat
from toolgrove.data.canonical import openai_messages
from toolgrove.engine.base import Finish, Sampling
from toolgrove.templates.base import agent_registry
from toolgrove.templates.reading import Delta, DeltaKind, Reader, Rules, one_of

TIMEOUT_S = 600.0
"""How long a server may be silent."""

_LEFT_OUT = ("loss", "loss_scale")
_SAID_CHARS = 300


@dataclass(frozen=True)
class RemoteModel:
    """A model on a server.

    ``agent`` None: tools go to the server as tools, which writes and reads calls itself. Else the
    name of an agent template that has a text form: then tools stand in the system prompt, calls
    and results in the newest user message, and replies are read here. ``role`` is the name of the
    role that AgentFabric's prompt has the model play.
    """

    url: str
    name: str
    api_key: str | None = None
    sampling: Sampling = field(default_factory=Sampling)
    agent: str | None = None
    role: str = ""
    streams: bool = True
    headers: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(
                f"not an address: {self.url}", hint="write it as http://localhost:8000/v1"
            )
        if self.agent is not None:
            from toolgrove.encoding.transcript import text_targets

            if self.agent not in text_targets():
                raise ConfigError(
                    f'the agent template "{self.agent}" has no text form that a chat server takes',
                    hint=f"one of: {', '.join(text_targets())}",
                )

    def stream(self, conv: Conversation, room: int | None = None) -> Iterator[Delta | Said]:
        """The reply. ModelError when the server does not answer, or refuses."""
        if self.agent is None or not conv.tools:
            yield from Answer(conv).read(self._events(self._body(conv, room)))
        else:
            yield from self._as_text(conv, room)

    def _as_text(self, conv: Conversation, room: int | None) -> Iterator[Delta | Said]:
        agent = agent_registry.get(self.agent or "")()
        stops = (agent.call_stop,) if agent.call_stop else ()
        rules = Rules(agent, stops, opening=agent.call_opening or one_of(agent.marks))
        reader = Reader(rules, conv.tools, "")
        body = self._body(conv, room)
        body["messages"] = _written(conv, self.agent or "", self.role)
        body.pop("tools", None)
        body["stop"] = [*stops, *body.get("stop", ())]
        raw = Said(Reply(None, ""))
        said: list[str] = []
        for event in Answer(conv).read(self._events(body)):
            if isinstance(event, Said):
                raw = event
            elif event.kind is DeltaKind.TEXT:
                said.append(event.text)
                yield from reader.feed(event.text)
            else:
                yield event
        yield from reader.rest()
        reply = replace(reader.finish(), thinking=raw.reply.thinking)
        yield raw._replace(reply=reply, text="".join(said))

    def _body(self, conv: Conversation, room: int | None) -> JSON:
        sampling = self.sampling
        limit = sampling.max_new_tokens if room is None else min(room, sampling.max_new_tokens)
        body: JSON = {
            "model": self.name,
            "messages": wire(conv),
            "max_tokens": limit,
            "temperature": sampling.temperature,
            "stream": self.streams,
        }
        if sampling.top_p < 1:
            body["top_p"] = sampling.top_p
        if sampling.seed is not None:
            body["seed"] = sampling.seed
        if sampling.stop:
            body["stop"] = list(sampling.stop)
        if self.streams:
            body["stream_options"] = {"include_usage": True}
        if conv.tools:
            body["tools"] = [tool.spec for tool in conv.tools]
        return body

    def _events(self, body: JSON) -> Iterator[JSON]:
        """The chunks of a streamed answer; an answer in one piece as one chunk."""
        headers = {"Content-Type": "application/json", **self.headers}
        if self.api_key:
            headers["Authorization"] = f"Bearer {self.api_key}"
        url = f"{self.url.rstrip('/')}/chat/completions"
        request = Request(url, json.dumps(body).encode(), headers)
        try:
            with urlopen(request, timeout=TIMEOUT_S) as reply:  # the address was checked
                if not str(reply.headers.get("Content-Type", "")).startswith("text/event-stream"):
                    yield _as_chunk(json.loads(reply.read()))
                    return
                for line in reply:
                    data = line.strip().removeprefix(b"data:").strip()
                    if line.startswith(b"data:") and data != b"[DONE]":
                        yield json.loads(data)
        except HTTPError as error:
            said = error.read(_SAID_CHARS).decode("utf-8", "replace")
            raise ModelError(
                f"the server answered with status {error.code}: {' '.join(said.split())}", where=url
            ) from error
        except ValueError as error:
            raise ModelError(f"the answer is no JSON: {error}", where=url) from error
        except (URLError, OSError) as error:
            reason = getattr(error, "reason", None) or error
            raise ModelError(
                f"no answer: {reason}", where=url, hint="is the server running there?"
            ) from error


def first_model(url: str, api_key: str | None = None) -> str:
    """The name of the first model that a server lists; ModelError where there is none."""
    headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
    where = f"{url.rstrip('/')}/models"
    if not url.startswith(("http://", "https://")):
        raise ConfigError(f"not an address: {url}", hint="write it as http://localhost:8000/v1")
    try:
        with urlopen(Request(where, headers=headers), timeout=TIMEOUT_S) as reply:
            return str(json.loads(reply.read())["data"][0]["id"])
    except (HTTPError, URLError, OSError, ValueError, LookupError, TypeError) as error:
        raise ModelError(
            f"the server does not tell its models: {error}",
            where=where,
            hint="is it running? name the model: --served_model",
        ) from error


def wire(conv: Conversation) -> list[JSON]:
    """The messages as OpenAI's interface takes them: arguments are JSON text."""
    messages = openai_messages(conv.messages)
    for message in messages:
        for part in (message, *message.get("tool_calls", ())):
            for key in _LEFT_OUT:
                part.pop(key, None)
        for call in message.get("tool_calls", ()):
            function = call["function"]
            if not isinstance(function["arguments"], str):
                function["arguments"] = dump(function["arguments"])
    return messages


def _written(conv: Conversation, agent: str, role: str) -> list[JSON]:
    """The conversation as plain messages, of which the last is the user's: what the model has said
    to it so far, and the results, stand at its end. A chat server goes on from there."""
    from toolgrove.encoding.transcript import text_target

    spoken = tuple(replace(message, thinking=None) for message in conv.messages)
    row = text_target(agent).write(Chat(replace(conv, messages=spoken)))
    messages: list[JSON] = [dict(message) for message in row["messages"]]
    if len(messages) > 1 and messages[-1]["role"] == "assistant":
        steps = messages.pop()["content"]
        messages[-1]["content"] += steps
    if role:
        for message in messages:
            if message["role"] == "user":
                message["content"] = message["content"].replace("(。", f"(你正在扮演{role}。", 1)
                break
    return [{"role": message["role"], "content": message["content"]} for message in messages]


def _as_chunk(answer: Any) -> JSON:
    """A whole answer in the shape of a chunk."""
    if not isinstance(answer, dict) or not answer.get("choices"):
        raise ModelError(f"the server's answer has no choices: {str(answer)[:_SAID_CHARS]}")
    whole = cast(JSON, answer)
    first = whole["choices"][0]
    message = dict(first.get("message") or {})
    calls = enumerate(message.get("tool_calls") or ())
    message["tool_calls"] = [{**call, "index": index} for index, call in calls]
    choice = {"delta": message, "finish_reason": first.get("finish_reason")}
    return {"choices": [choice], "usage": whole.get("usage")}


class Answer:
    """An answer that is put together from chunks."""

    def __init__(self, conv: Conversation) -> None:
        self._conv = conv
        self._thinking: list[str] = []
        self._text: list[str] = []
        self._calls: dict[int, JSON] = {}
        self._finish = Finish.STOP
        self._prompt_tokens = self._tokens = 0

    def read(self, chunks: Iterator[JSON]) -> Iterator[Delta | Said]:
        """The deltas of the chunks, then the whole."""
        for chunk in chunks:
            if chunk.get("error"):
                raise ModelError(f"the server broke off: {str(chunk['error'])[:_SAID_CHARS]}")
            usage = chunk.get("usage") or {}
            self._prompt_tokens = usage.get("prompt_tokens") or self._prompt_tokens
            self._tokens = usage.get("completion_tokens") or self._tokens
            for choice in chunk.get("choices") or ():
                if choice.get("finish_reason") == "length":
                    self._finish = Finish.LENGTH
                yield from self._deltas(choice.get("delta") or {})
        thinking = "".join(self._thinking) if self._thinking else None
        calls = tuple(_call(self._calls[index]) for index in sorted(self._calls))
        text = "".join(self._text)
        reply = Reply(thinking, text, calls)
        yield Said(reply, self._finish, self._prompt_tokens, self._tokens, text)

    def _deltas(self, delta: JSON) -> Iterator[Delta]:
        thinking = delta.get("reasoning_content") or delta.get("reasoning")
        if thinking:
            self._thinking.append(thinking)
            yield Delta(DeltaKind.THINKING, 0, thinking)
        if delta.get("content"):
            self._text.append(delta["content"])
            yield Delta(DeltaKind.TEXT, 0, delta["content"])
        for piece in delta.get("tool_calls") or ():
            index, function = piece.get("index", 0), piece.get("function") or {}
            if index not in self._calls:
                self._calls[index] = {"id": piece.get("id"), "name": "", "arguments": ""}
            call = self._calls[index]
            call["id"] = call["id"] or piece.get("id")
            if function.get("name"):
                call["name"] += function["name"]
                yield Delta(DeltaKind.CALL_NAME, index, function["name"])
            if function.get("arguments"):
                written = function["arguments"]
                written = written if isinstance(written, str) else dump(written)
                call["arguments"] += written
                yield Delta(DeltaKind.CALL_ARGS, index, written)


def _call(told: JSON) -> ToolCall:
    """The call; its text is kept where that is no JSON object, for the model to be told so."""
    try:
        arguments = json.loads(told["arguments"] or "{}")
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        return ToolCall(told["name"], cast(JSON, arguments), id=told["id"])
    return ToolCall(told["name"], {}, id=told["id"], given=told["arguments"])
