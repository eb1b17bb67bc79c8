"""Requests become jobs: the conversation, its prompt, what the reply is held to, how it is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any, NamedTuple

from toolgrove.core.errors import ToolgroveError
from toolgrove.core.messages import JSON, Conversation, Tool
from toolgrove.data.talk import read_talk
from toolgrove.encoding.encode import prompt_ids, refuse_losses
from toolgrove.engine.base import Sampling
from toolgrove.engine.live import Job
from toolgrove.serve.refusal import RefusedError, refusal_of
from toolgrove.serve.served import Model, Served
from toolgrove.serve.wire import Asked, Call, ChatRequest, CompletionRequest, Message
from toolgrove.templates.constraint import Request
from toolgrove.templates.dialect import Dialect
from toolgrove.templates.reading import Reader

_SEEDS = 1_000_003
_ANY_OBJECT: JSON = {"type": "object", "additionalProperties": True}


@dataclass(frozen=True)
class Ask:
    """A request as the engine and the reader of its replies need it.

    ``prepared`` are the engine's own. ``unused`` names what was sent and changes nothing.
    """

    model: Model
    jobs: tuple[Job, ...]
    prepared: tuple[Any, ...]
    dialect: Dialect | None = None
    tools: tuple[Tool, ...] = ()
    prompt: str = ""
    parallel: bool = True
    forced: bool = False
    unused: tuple[str, ...] = ()

    def reader(self) -> Reader | None:
        """A reader for one reply; None where replies are plain text."""
        return self.dialect.reader(self.tools, self.prompt) if self.dialect else None


class Prompted(NamedTuple):
    """A chat as the model reads it; ``lost`` says what of it could not be shown."""

    dialect: Dialect
    conversation: Conversation
    text: str
    ids: list[int]
    lost: tuple[str, ...] = ()


def ask_chat(request: ChatRequest, served: Served) -> Ask:
    """The jobs of a chat; RefusedError for what cannot be asked. It takes a while: call it in a
    thread."""
    model = served.model(request.model)
    options = dict(request.chat_template_kwargs)
    if request.reasoning_effort is not None:
        options.setdefault("reasoning_effort", request.reasoning_effort)
    prompted = prompt_of(served, model, request.messages, request.tools, options)
    grammar = _grammar(request, served, prompted)
    stops = (*prompted.dialect.stops, *request.stops)
    jobs = _jobs(request, served, (tuple(prompted.ids),), (request.limit, request.top))
    jobs = [
        replace(
            job,
            grammar=grammar,
            adapter=model.adapter,
            sampling=replace(job.sampling, stop=stops),
        )
        for job in jobs
    ]
    offered = () if request.tool_choice == "none" else prompted.conversation.tools
    return Ask(
        model,
        tuple(jobs),
        _prepared(jobs, served),
        dialect=prompted.dialect,
        tools=offered,
        prompt=prompted.text,
        parallel=request.parallel_tool_calls,
        forced=request.named is not None,
        unused=(*request.unused_here, *prompted.lost),
    )


def ask_completion(request: CompletionRequest, served: Served) -> Ask:
    """The jobs of a completion: ``n`` for each prompt."""
    model = served.model(request.model)
    prompts = [tuple(prompt) for prompt in _completion_prompts(request.prompt, served)]
    jobs = [
        replace(job, adapter=model.adapter, sampling=replace(job.sampling, stop=request.stops))
        for job in _jobs(request, served, prompts, (request.max_tokens, request.logprobs))
    ]
    return Ask(model, tuple(jobs), _prepared(jobs, served), unused=tuple(request.unused))


def prompt_of(
    served: Served,
    model: Model,
    messages: Sequence[Message],
    tools: Sequence[JSON] | None,
    options: JSON,
) -> Prompted:
    """The prompt of a chat. Thinking of earlier turns that the dialect cannot show is left out and
    told; anything else that it would lose is refused."""
    try:
        dialect = model.speech.dialect(options)
    except ToolgroveError as error:
        raise refusal_of(error, "chat_template_kwargs") from error
    try:
        conv = _conversation(messages, tools)
        lost: tuple[str, ...] = ()
        if dialect.losses(conv):
            conv, lost = _without_thinking(conv)
            refuse_losses(conv, dialect)
        ids = prompt_ids(conv, dialect, served.tokenizer)
        return Prompted(dialect, conv, dialect.prompt(conv), ids, lost)
    except ToolgroveError as error:
        raise refusal_of(error, None if error.where else "messages") from error
    except RecursionError:
        raise RefusedError(400, "nested too deeply", param="messages") from None


def _without_thinking(conv: Conversation) -> tuple[Conversation, tuple[str, ...]]:
    if all(message.thinking is None for message in conv.messages):
        return conv, ()
    plain = tuple(replace(message, thinking=None) for message in conv.messages)
    return replace(conv, messages=plain), ("messages[].reasoning_content",)


def _conversation(messages: Sequence[Message], tools: Sequence[JSON] | None) -> Conversation:
    talk = read_talk([_row(message) for message in messages], "messages")
    return Conversation(tuple(talk.messages), tuple(Tool(tool) for tool in tools or ()))


def _row(message: Message) -> JSON:
    """The message as a row has it: content null, absent and in parts stay what they are."""
    row: JSON = {"role": message.role}
    content: Any = message.content
    if isinstance(content, list):
        content = [{"type": "text", "text": part.text or part.refusal} for part in content]
    if message.role == "assistant":
        content = message.refusal if content is None else content
        speaks = message.tool_calls or message.reasoning_content or message.reasoning
        if "content" in message.model_fields_set or not speaks:
            row["content"] = "" if content is None and not speaks else content
    else:
        row["content"] = content
    for key in ("name", "tool_call_id", "reasoning_content", "reasoning"):
        if getattr(message, key) is not None:
            row[key] = getattr(message, key)
    if message.tool_calls:
        row["tool_calls"] = [_call_row(call) for call in message.tool_calls]
    return row


def _call_row(call: Call) -> JSON:
    function = {"name": call.function.name, "arguments": call.function.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _grammar(request: ChatRequest, served: Served, prompted: Prompted) -> JSON | None:
    """What the reply is held to, or None: it is free."""
    tools, choice = prompted.conversation.tools, request.tool_choice or "auto"
    named = [tool["function"] for tool in request.tools or ()]
    asked_strictly = any(function.get("strict") for function in named)
    schema, strict_schema = _schema(request)
    required = choice not in ("none", "auto")
    held = required or schema is not None or (bool(tools) and (served.strict or asked_strictly))
    calm = choice == "none" and bool(tools) and find_spec("xgrammar") is not None
    if not (held or calm) or not served.scheduler.engine.holds_grammars:
        return None
    asked = Request(
        tools,
        choice,
        request.parallel_tool_calls,
        prompted.text,
        at_once=True,
        schema=schema,
    )
    try:
        return prompted.dialect.reply_grammar(asked, strict=asked_strictly or strict_schema)
    except ToolgroveError as error:
        param = "response_format" if schema is not None and not tools else "tools"
        raise refusal_of(error, param) from error


def _schema(request: ChatRequest) -> tuple[JSON | None, bool]:
    """The schema of the whole reply, and whether it must hold to the letter."""
    wanted = request.response_format
    if wanted is None or wanted.type == "text":
        return None, False
    if wanted.json_schema is None:
        return _ANY_OBJECT, False
    return wanted.json_schema.schema_, bool(wanted.json_schema.strict)


def _jobs(
    request: Asked,
    served: Served,
    prompts: Sequence[tuple[int, ...]],
    limits: tuple[int | None, int | None],
) -> list[Job]:
    """``n`` jobs for each prompt; ``limits``: the most new tokens, and how many log-probabilities.

    The ``i``-th of a prompt's jobs draws from a seed of its own.
    """
    limit, top = limits
    defaults, context = served.defaults, served.scheduler.engine.context
    jobs: list[Job] = []
    for prompt in prompts:
        if len(prompt) >= context:
            raise RefusedError(
                400,
                f"the prompt has {len(prompt)} tokens, and this model's context is {context}",
                param="messages" if isinstance(request, ChatRequest) else "prompt",
                code="context_length_exceeded",
            )
        room = context - len(prompt)
        most = min(limit or defaults.max_new_tokens or room, room)
        for index in range(request.n):
            sampling = Sampling(
                max_new_tokens=most,
                temperature=_or(request.temperature, defaults.temperature),
                top_p=_or(request.top_p, defaults.top_p),
                top_k=max(0, int(_or(request.top_k, defaults.top_k))),
                seed=None if request.seed is None else request.seed * _SEEDS + index,
            )
            jobs.append(
                Job(
                    prompt,
                    sampling,
                    top=top,
                    min_p=request.min_p,
                    presence=request.presence_penalty,
                    frequency=request.frequency_penalty,
                    repetition=request.repetition_penalty,
                    bias=_bias(request, served),
                )
            )
    return jobs


def _or(given: float | None, default: float) -> float:
    return default if given is None else given


def _bias(request: Asked, served: Served) -> dict[int, float]:
    size = served.tokenizer.vocab_size
    bias: dict[int, float] = {}
    for word, value in (request.logit_bias or {}).items():
        if not word.isdecimal() or int(word) >= size:
            raise RefusedError(400, f'logit_bias: no token "{word}"', param="logit_bias")
        bias[int(word)] = value
    return bias


def _completion_prompts(given: Any, served: Served) -> list[list[int]]:
    if not given:
        raise RefusedError(400, "an empty prompt", param="prompt")
    if isinstance(given, str) or isinstance(given[0], int):
        given = [given]
    prompts = [served.tokenizer.encode(p) if isinstance(p, str) else list(p) for p in given]
    size = served.tokenizer.vocab_size
    for prompt in prompts:
        if not prompt:
            raise RefusedError(400, "an empty prompt", param="prompt")
        if not all(0 <= token < size for token in prompt):
            raise RefusedError(400, f"token ids are 0 to {size - 1}", param="prompt")
    return prompts


def _prepared(jobs: Sequence[Job], served: Served) -> tuple[Any, ...]:
    try:
        return tuple(served.scheduler.engine.prepare(job) for job in jobs)
    except ToolgroveError as error:
        raise refusal_of(error) from error
    except (RuntimeError, ValueError) as error:
        first = str(error).strip().partition("\n")[0][:300]
        raise RefusedError(
            400, f"no grammar can be made of these schemas: {first}", param="tools"
        ) from error
