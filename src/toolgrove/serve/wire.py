"""What clients send, in OpenAI's terms: every field is known, refused or reported as unused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import jsonschema_rs
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from toolgrove.core.messages import JSON

UNSUPPORTED = {
    "functions": 'use "tools"',
    "function_call": 'use "tool_choice"',
    "audio": "this server answers in text",
    "prediction": "predicted outputs are not supported",
    "web_search_options": "give a tool that searches",
    "verbosity": "say it in the system message",
}
"""Fields of OpenAI's API that would change the answer but are not supported, with a way out."""

UNUSED = (
    *("user", "metadata", "store", "service_tier", "safety_identifier"),
    *("prompt_cache_key", "prompt_cache_retention"),
)
"""Fields that change nothing here; a response's header names those that were sent."""

_MAX_CHOICES = 16
_MAX_STOPS = 16
_MAX_TOOLS = 512


class Wire(BaseModel):
    """Base of what is sent: unknown fields are errors."""

    model_config = ConfigDict(extra="forbid", protected_namespaces=())


def _tool(value: JSON) -> JSON:
    """A tool in OpenAI's form, its keys as they were sent: templates print them in that order."""
    unknown = set(value) - {"type", "function"}
    function = value.get("function")
    if value.get("type") != "function" or not isinstance(function, dict):
        raise ValueError('a tool is {"type": "function", "function": {"name": ...}}')
    unknown |= set(function) - {"name", "description", "parameters", "strict"}
    if unknown:
        raise ValueError(f'unknown field "{min(unknown)}" in a tool')
    name = function.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= 256 or not name.isprintable():
        raise ValueError("a tool needs a name of 1 to 256 printable characters")
    if not isinstance(function.get("description"), str | None):
        raise ValueError(f'the description of the tool "{name}" is not text')
    if not isinstance(function.get("strict"), bool | None):
        raise ValueError(f'"strict" of the tool "{name}" is not true or false')
    if function.get("parameters") is not None:
        _schema(function["parameters"], f'the parameters of the tool "{name}"')
    return value


def _schema(value: Any, what: str) -> JSON:
    if not isinstance(value, dict):
        raise ValueError(f"{what} are no JSON Schema: an object is needed")
    try:
        jsonschema_rs.meta.validate(value)
    except (ValueError, RecursionError) as error:
        first = str(error).partition("\n")[0]
        raise ValueError(f"{what} are no JSON Schema: {first}") from None
    return value


def _choice(value: Any) -> Any:
    """A tool choice: a word, or the name of a tool."""
    if value is None or value in ("none", "auto", "required"):
        return value
    if isinstance(value, dict) and value.get("type") == "function":
        function = value.get("function")
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            return value
    raise ValueError(
        'none, auto, required or {"type": "function", "function": {"name": ...}} is meant'
    )


_NAME: JSON = {"type": "string", "minLength": 1, "maxLength": 256}
_TOOL: JSON = {
    "type": "object",
    "required": ["type", "function"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "function"},
        "function": {
            "type": "object",
            "required": ["name"],
            "additionalProperties": False,
            "properties": {
                "name": _NAME,
                "description": {"type": ["string", "null"]},
                "parameters": {"type": ["object", "null"], "description": "a JSON Schema"},
                "strict": {"type": ["boolean", "null"]},
            },
        },
    },
}
_CHOICE: JSON = {
    "anyOf": [
        {"enum": ["none", "auto", "required", None]},
        {
            "type": "object",
            "required": ["type", "function"],
            "properties": {
                "type": {"const": "function"},
                "function": {
                    "type": "object",
                    "required": ["name"],
                    "properties": {"name": {"type": "string"}},
                },
            },
        },
    ]
}

Tool = Annotated[JSON, AfterValidator(_tool), WithJsonSchema(_TOOL)]
Unit = Annotated[float, Field(ge=-2, le=2)]


class Part(Wire):
    """A part of a message. Text only: nothing is ever read from an address or a file."""

    type: Literal["text", "refusal"]
    text: str | None = None
    refusal: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _text_only(cls, value: Any) -> Any:
        kind = value.get("type") if isinstance(value, dict) else None
        if kind not in ("text", "refusal"):
            raise ValueError(f"this model reads text only, and no part of the type {kind!r}")
        if not isinstance(value.get(kind), str):
            raise ValueError(f'a part of the type {kind} needs "{kind}"')
        return value


class CalledFunction(Wire):
    """Name and arguments of a call; the arguments are JSON text."""

    name: str = Field(min_length=1)
    arguments: str | JSON = "{}"
    parsed_arguments: Any = None
    """what OpenAI's client read out of the arguments: they say it already"""


class Call(Wire):
    """A call in an assistant's message."""

    id: str | None = None
    type: Literal["function"] = "function"
    function: CalledFunction
    index: int | None = None


class Message(Wire):
    """A message; what a response had is taken back as it was."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Part] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    refusal: str | None = None
    annotations: list[Any] | None = None
    parsed: Any = None
    """what OpenAI's client read out of the content"""
    extra: Any = None
    id: str | None = None
    """what Qwen-Agent keeps for itself, as ``extra``; reported as unused"""
    audio: None = None
    function_call: None = None


class JSONSchemaFormat(Wire):
    """A schema for the whole reply."""

    name: str = "response"
    description: str | None = None
    schema_: JSON = Field(alias="schema")
    strict: bool | None = None

    @model_validator(mode="after")
    def _valid(self) -> JSONSchemaFormat:
        _schema(self.schema_, "response_format")
        return self


class ResponseFormat(Wire):
    """Which text a reply may be."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JSONSchemaFormat | None = None

    @model_validator(mode="after")
    def _whole(self) -> ResponseFormat:
        if (self.type == "json_schema") != (self.json_schema is not None):
            raise ValueError('the type "json_schema" and a "json_schema" belong together')
        return self


class StreamOptions(Wire):
    """What a stream holds besides the reply."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class Asked(Wire):
    """What chats and completions have in common."""

    model: str | None = None
    n: int = Field(default=1, ge=1, le=_MAX_CHOICES)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    top_k: int | None = Field(default=None, ge=-1)
    min_p: float = Field(default=0.0, ge=0, le=1)
    presence_penalty: Unit = 0.0
    frequency_penalty: Unit = 0.0
    repetition_penalty: float = Field(default=1.0, gt=0, le=10)
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    return_token_ids: bool = False
    user: str | None = None
    metadata: JSON | None = None
    store: bool | None = None
    service_tier: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    prompt_cache_retention: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _supported(cls, value: Any) -> Any:
        if isinstance(value, dict):
            for name, way_out in UNSUPPORTED.items():
                if value.get(name) is not None:
                    raise ValueError(f'"{name}" is not supported: {way_out}')
            known = cls.model_fields.keys()
            value = {
                name: given
                for name, given in value.items()
                if given is not None and (name in known or name not in UNSUPPORTED)
            }
        return value

    @model_validator(mode="after")
    def _fits(self) -> Asked:
        if self.stream_options is not None and not self.stream:
            raise ValueError('"stream_options" are for "stream": true')
        if len(self.stops) > _MAX_STOPS or any(not stop for stop in self.stops):
            raise ValueError(f'"stop" is up to {_MAX_STOPS} texts, none of them empty')
        return self

    @property
    def stops(self) -> tuple[str, ...]:
        """What ends a reply besides the model's own stops."""
        stop = self.stop or ()
        return (stop,) if isinstance(stop, str) else tuple(stop)

    @property
    def unused(self) -> list[str]:
        """The fields that were sent and change nothing."""
        return [name for name in UNUSED if getattr(self, name) is not None]


class ChatRequest(Asked):
    """``POST /v1/chat/completions``."""

    messages: list[Message] = Field(min_length=1)
    tools: list[Tool] | None = Field(default=None, max_length=_MAX_TOOLS)
    tool_choice: Annotated[Any, AfterValidator(_choice), WithJsonSchema(_CHOICE)] = None
    parallel_tool_calls: bool = True
    response_format: ResponseFormat | None = None
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool = False
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    chat_template_kwargs: JSON = {}
    reasoning_effort: str | None = None
    include_reasoning: bool = True
    modalities: list[Literal["text"]] | None = None

    @model_validator(mode="after")
    def _agrees(self) -> ChatRequest:
        names = [tool["function"]["name"] for tool in self.tools or ()]
        if self.tools == []:
            raise ValueError('"tools" is empty: leave it out, or give at least one')
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            raise ValueError(f'two tools have the name "{twice}"')
        if self.tool_choice not in (None, "none") and not names:
            raise ValueError('"tool_choice" needs "tools"')
        if self.named is not None and self.named not in names:
            raise ValueError(f'"tool_choice" names "{self.named}", and no tool has that name')
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError('"top_logprobs" needs "logprobs": true')
        return self

    @property
    def unused_here(self) -> list[str]:
        """The fields that were sent and change nothing, those of messages as well."""
        own = [
            f"messages[].{name}"
            for name in ("extra", "id")
            if any(getattr(message, name) is not None for message in self.messages)
        ]
        return [*self.unused, *own]

    @property
    def named(self) -> str | None:
        """The tool that must be called, if one is named."""
        choice = self.tool_choice
        return choice["function"]["name"] if isinstance(choice, dict) else None

    @property
    def limit(self) -> int | None:
        """The most tokens of a reply."""
        return self.max_completion_tokens or self.max_tokens

    @property
    def top(self) -> int | None:
        """How many likeliest tokens to tell; None: no log-probabilities at all."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Asked):
    """``POST /v1/completions``: text or token ids to go on from."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int = Field(default=16, ge=1)
    logprobs: int | None = Field(default=None, ge=0, le=20)
    echo: Literal[False] = False
    suffix: None = None
    best_of: Literal[1] = 1


class TokenizeRequest(Wire):
    """``POST /tokenize``: a text, or a chat as it would be asked."""

    model: str | None = None
    prompt: str | None = None
    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    add_generation_prompt: bool = True
    add_special_tokens: Literal[False] = False
    return_token_strs: bool = False
    chat_template_kwargs: JSON = {}

    @model_validator(mode="after")
    def _one(self) -> TokenizeRequest:
        if (self.prompt is None) == (not self.messages):
            raise ValueError('give either "prompt" or "messages"')
        return self


class DetokenizeRequest(Wire):
    """``POST /detokenize``."""

    model: str | None = None
    tokens: list[Annotated[int, Field(ge=0)]]


class LoadAdapter(Wire):
    """``POST /v1/load_lora_adapter``."""

    lora_name: str = Field(min_length=1, max_length=256)
    lora_path: str


class UnloadAdapter(Wire):
    """``POST /v1/unload_lora_adapter``."""

    lora_name: str
