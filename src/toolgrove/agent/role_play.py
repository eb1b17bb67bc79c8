"""Role play as in modelscope-agent: the same constructor and ``run``, over our agent.

Its prompt is the dialect ``agentfabric``. Deviations: the prompt is Chinese also for questions
without Chinese in them; all calls of a reply run, not the first one alone; arguments are checked,
and errors of tools are told to the model (tests/unit/agent/test_role_play.py).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

from toolgrove.agent.events import Returned, Said
from toolgrove.agent.functions import Functions
from toolgrove.agent.load import sources
from toolgrove.agent.model import Model
from toolgrove.agent.remote import RemoteModel
from toolgrove.agent.session import Limits, Session
from toolgrove.agent.tools import Source, Toolbox
from toolgrove.core.errors import ConfigError
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON, Conversation, Message, Role
from toolgrove.core.registry import Registry
from toolgrove.engine.base import Sampling
from toolgrove.templates.reading import Delta, DeltaKind

AGENT = "agentfabric"
STEPS = 10

NamedTool: TypeAlias = Callable[[Mapping[str, Any]], Source]
"""Makes a tool's source out of its configuration."""

named_tools: Registry[NamedTool] = Registry("tool", "toolgrove.agent.builtin", "toolgrove.tools")
"""Tools that ``function_list`` knows by name."""

_SERVERS = {
    "openai": ("https://api.openai.com/v1", "OPENAI_API_KEY"),
    "dashscope": ("https://dashscope.aliyuncs.com/compatible-mode/v1", "DASHSCOPE_API_KEY"),
}


class RolePlay:
    """An agent that plays a role.

    ``function_list``: names of built-in tools, ``{name: configuration}``, Python functions, files
    and servers as ``toolgrove infer --tools`` takes them. ``llm``: a mapping with ``model`` and
    ``model_server`` (``openai``: any OpenAI-compatible server, at ``api_base``), or a Model.
    ``instruction``: a text, or a mapping with ``name``, ``description`` and ``instruction``.
    """

    def __init__(
        self,
        function_list: Sequence[Any] | None = None,
        llm: Mapping[str, Any] | Model | None = None,
        instruction: str | Mapping[str, Any] | None = None,
        name: str | None = None,
        description: str | None = None,
    ) -> None:
        self.name, self.description = name, description
        role = dict(instruction) if isinstance(instruction, Mapping) else {}
        self.role_name = str(role.get("name") or "")
        self.instruction = _role_text(role) if role else str(instruction or "")
        self.model = _model(llm, self.role_name)
        self.toolbox = Toolbox(_sources(function_list or ()))
        self.session: Session | None = None

    def run(
        self,
        user_request: str,
        history: Sequence[Mapping[str, Any]] | None = None,
        ref_doc: str | None = None,
        lang: str = "zh",
    ) -> Iterator[str]:
        """Answers; yields what the model says and what tools return, piece by piece.

        ``history`` are earlier messages; ``ref_doc`` is a text that the model may draw on. The
        whole conversation is in ``session.transcript()`` afterwards.
        """
        if lang not in ("zh", "en"):
            raise ConfigError(f'lang "{lang}" is not known', hint='"zh" or "en"')
        talk = Conversation(tuple(self._opening(history or (), ref_doc)))
        self.session = Session(
            self.model, self.toolbox, limits=Limits(steps=STEPS), conversation=talk
        )
        return self._told(self.session, user_request)

    def close(self) -> None:
        """Gives back what the tools hold."""
        self.toolbox.close()

    def _opening(
        self, history: Sequence[Mapping[str, Any]], ref_doc: str | None
    ) -> Iterator[Message]:
        from toolgrove.data.formats import conversation

        known = f"# 知识库\n\n{ref_doc}\n\n" if ref_doc else ""
        yield Message(Role.SYSTEM, known + self.instruction)
        if history:
            earlier = conversation({"messages": [dict(message) for message in history]}, "history")
            yield from (m for m in earlier.messages if m.role is not Role.SYSTEM)

    @staticmethod
    def _told(session: Session, user_request: str) -> Iterator[str]:
        results: dict[int, str] = {}
        calls = 0
        for event in session.ask(user_request):
            if isinstance(event, Delta) and event.kind is DeltaKind.TEXT:
                yield event.text
            elif isinstance(event, Said) and event.reply.calls:
                calls, results = len(event.reply.calls), {}
                for call in session.conversation.messages[-1].calls:
                    yield f"\nAction: {call.name}\nAction Input: {dump(call.arguments)}\n"
            elif isinstance(event, Returned):
                results[event.index] = event.outcome.text
                if len(results) == calls:
                    told = [f"Observation: <result>{results[i]}</result>" for i in range(calls)]
                    yield "\n".join(told) + "\nAnswer:"


def _role_text(role: Mapping[str, Any]) -> str:
    """The instruction of a role, in the words that the models were tuned with."""
    name = str(role.get("name") or "")
    given = role.get("instruction") or ""
    functions = (
        "；".join(map(str, cast("list[Any]", given))) if isinstance(given, list) else str(given)
    )
    named = f"你的名字是{name}。" if name else ""
    return (
        f"你扮演AI-Agent，{named}{role.get('description') or ''}\n"
        f"你具有下列具体功能：{functions}\n下面你将开始扮演{name}"
    )


def _model(llm: Mapping[str, Any] | Model | None, role: str) -> Model:
    if llm is None:
        raise ConfigError("no model", hint='llm={"model_server": "openai", "model": ..., ...}')
    if not isinstance(llm, Mapping):
        return llm
    given = cast("Mapping[str, Any]", llm)
    server = str(given.get("model_server", "openai"))
    if server not in _SERVERS:
        raise ConfigError(
            f'model_server "{server}" is not known',
            hint='"openai" with api_base speaks to any OpenAI-compatible server',
        )
    home, key = _SERVERS[server]
    if not given.get("model"):
        raise ConfigError('llm has no "model"', hint="name the model as the server does")
    options: JSON = given.get("generate_cfg") or {}
    sampling = Sampling(
        max_new_tokens=int(options.get("max_tokens", 2048)),
        temperature=float(options.get("temperature", given.get("temperature", 0.0))),
        top_p=float(options.get("top_p", given.get("top_p", 1.0))),
    )
    return RemoteModel(
        str(given.get("api_base") or os.environ.get("OPENAI_API_BASE") or home).strip(),
        str(given["model"]),
        given.get("api_key") or os.environ.get(key),
        sampling,
        agent=None if given.get("is_function_call") else AGENT,
        role=role,
        streams=given.get("support_stream") is not False,
    )


def _sources(listed: Sequence[Any]) -> Iterator[Source]:
    item: Any
    for item in listed:
        if callable(item):
            yield Functions([item])
        elif hasattr(item, "tools"):
            yield cast(Source, item)
        elif isinstance(item, str) and not (":" in item or Path(item).suffix):
            yield named_tools.get(item)({})
        elif isinstance(item, dict) and len(cast(JSON, item)) == 1:
            ((name, options),) = cast(JSON, item).items()
            yield named_tools.get(name)(options or {})
        else:
            yield from sources(cast("str | JSON", item))
