"""What clients of OpenAI's Responses API send, as the chat that it means."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, model_validator

from toolgrove.core.messages import JSON
from toolgrove.serve.refusal import RefusedError
from toolgrove.serve.wire import ChatRequest, Wire

_STATEFUL = ("previous_response_id", "conversation", "prompt")
_TEXTS = ("input_text", "output_text", "text")


class Reasoning(Wire):
    """How much to think; summaries are not made."""

    effort: str | None = None
    summary: str | None = None
    generate_summary: str | None = None


class ResponsesRequest(Wire):
    """``POST /v1/responses``. Nothing is stored: each request brings its whole history."""

    model: str | None = None
    input: str | list[JSON]
    instructions: str | None = None
    tools: list[JSON] | None = None
    tool_choice: Any = None
    parallel_tool_calls: bool = True
    temperature: float | None = None
    top_p: float | None = None
    max_output_tokens: int | None = Field(default=None, ge=1)
    text: JSON | None = None
    reasoning: Reasoning | None = None
    stream: bool = False
    store: bool | None = None
    metadata: JSON | None = None
    user: str | None = None
    include: list[str] | None = None
    truncation: Literal["disabled"] | None = None
    background: Literal[False] | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None
    stream_options: JSON | None = None
    chat_template_kwargs: JSON = {}

    @model_validator(mode="before")
    @classmethod
    def _stateless(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for name in _STATEFUL:
            if value.get(name) is not None:
                raise ValueError(f'"{name}" is not supported: send the whole history as "input"')
        return {k: v for k, v in value.items() if v is not None}

    def chat(self) -> JSON:
        """The same request as a chat's body; RefusedError for what a chat has not."""
        messages = _messages(self.input)
        if self.instructions is not None:
            messages = [{"role": "system", "content": self.instructions}, *messages]
        body: JSON = {
            "model": self.model,
            "messages": messages,
            "tools": [_tool(tool, i) for i, tool in enumerate(self.tools)] if self.tools else None,
            "tool_choice": _choice(self.tool_choice),
            "parallel_tool_calls": self.parallel_tool_calls,
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_completion_tokens": self.max_output_tokens,
            "response_format": _format(self.text or {}),
            "reasoning_effort": self.reasoning.effort if self.reasoning else None,
            "chat_template_kwargs": self.chat_template_kwargs,
            "stream": self.stream,
        }
        shared = ("user", "metadata", "store", "service_tier", "safety_identifier")
        body |= {name: getattr(self, name) for name in shared}
        return {name: value for name, value in body.items() if value is not None}

    @property
    def unused(self) -> list[str]:
        """Further fields that were sent and change nothing."""
        names = ("include", "prompt_cache_key", "prompt_cache_retention", "stream_options")
        return [name for name in names if getattr(self, name) is not None]


def _messages(given: str | list[JSON]) -> list[JSON]:
    """Items as messages: thinking, text and calls that follow each other are one assistant's."""
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    messages: list[JSON] = []
    for index, item in enumerate(given):
        where = f"input[{index}]"
        kind = item.get("type") or ("message" if "role" in item else None)
        if kind == "message" and item.get("role") != "assistant":
            messages.append({"role": item.get("role"), "content": _text(item, "content", where)})
        elif kind == "function_call_output":
            output = _text(item, "output", where)
            answered = {"role": "tool", "tool_call_id": item.get("call_id"), "content": output}
            messages.append(answered)
        elif kind in ("message", "function_call", "reasoning"):
            if not messages or messages[-1]["role"] != "assistant":
                messages.append({"role": "assistant", "content": None})
            _join(messages[-1], item, kind, where)
        else:
            raise RefusedError(400, f"{where}: no item of the type {kind!r}", param=where)
    if not messages:
        raise RefusedError(400, "an empty input", param="input")
    return messages


def _join(message: JSON, item: JSON, kind: str, where: str) -> None:
    """Adds a part of an assistant's turn to it."""
    if kind == "message":
        message["content"] = (message["content"] or "") + _text(item, "content", where)
    elif kind == "reasoning":
        parts = [*(item.get("content") or ()), *(item.get("summary") or ())]
        thinking = "".join(str(part.get("text", "")) for part in parts if isinstance(part, dict))
        if thinking:
            message["reasoning_content"] = message.get("reasoning_content", "") + thinking
    else:
        function = {"name": item.get("name"), "arguments": item.get("arguments", "{}")}
        call = {"id": item.get("call_id"), "type": "function", "function": function}
        message.setdefault("tool_calls", []).append(call)


def _text(item: JSON, key: str, where: str) -> str:
    value = item.get(key)
    if isinstance(value, str):
        return value
    if not isinstance(value, list):
        raise RefusedError(400, f'{where}: "{key}" is not text', param=f"{where}.{key}")
    texts: list[str] = []
    for part in value:
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("refusal" if kind == "refusal" else "text") if kind else None
        if kind not in (*_TEXTS, "refusal") or not isinstance(text, str):
            raise RefusedError(
                400, f"this model reads text only, and no part of the type {kind!r}", param=where
            )
        texts.append(text)
    return "".join(texts)


def _tool(tool: JSON, index: int) -> JSON:
    if tool.get("type") != "function":
        raise RefusedError(
            400, f"only functions are tools here, not {tool.get('type')!r}", param=f"tools[{index}]"
        )
    function = {key: value for key, value in tool.items() if key != "type" and value is not None}
    return {"type": "function", "function": function}


def _choice(choice: Any) -> Any:
    if isinstance(choice, dict) and choice.get("type") == "function":
        return {"type": "function", "function": {"name": choice.get("name")}}
    return choice


def _format(text: JSON) -> JSON | None:
    unknown = set(text) - {"format"}
    if unknown:
        raise RefusedError(400, f'unknown field "text.{min(unknown)}"', param="text")
    wanted = text.get("format")
    if not isinstance(wanted, dict) or wanted.get("type") != "json_schema":
        return wanted
    return {
        "type": "json_schema",
        "json_schema": {key: value for key, value in wanted.items() if key != "type"},
    }


def chat_request(request: ResponsesRequest) -> ChatRequest:
    """The chat that is meant; a pydantic error when its fields do not fit."""
    return ChatRequest.model_validate(request.chat())
