"""Conversations as rows of plain text: tools in the system prompt, calls and results in words."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON, Conversation, Message, Role, Tool
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample
from toolgrove.core.spans import text_of
from toolgrove.data.canonical import sides, weights_of
from toolgrove.data.kept import (
    each_call,
    each_conversation,
    each_message,
    given_as_values,
    without_ids,
    without_null,
)
from toolgrove.data.react_text import FINAL, THOUGHT
from toolgrove.data.target import Target
from toolgrove.templates.base import AgentTemplate, agent_registry
from toolgrove.templates.script import result_at
from toolgrove.templates.values import Step


class _Kind(NamedTuple):
    """A text format: ``steps`` stand in one reply; ``labels``: with thoughts and final answers."""

    steps: bool
    labels: bool
    plain_tools: bool


_KINDS = {
    "react_en": _Kind(steps=True, labels=True, plain_tools=True),
    "react_zh": _Kind(steps=True, labels=True, plain_tools=True),
    "toolbench": _Kind(steps=True, labels=True, plain_tools=False),
    "agentfabric": _Kind(steps=True, labels=False, plain_tools=True),
    "hermes": _Kind(steps=False, labels=False, plain_tools=False),
}


def text_targets() -> list[str]:
    """The agent templates whose text can be written as rows, because it can be read back."""
    return sorted(_KINDS)


def text_target(name: str) -> Target:
    """The target that writes rows in the text of an agent template."""
    agent, kind = agent_registry.get(name)(), _KINDS[name]

    def write(given: Sample) -> JSON:
        return _write(given, agent, kind)

    def keep(given: Sample) -> Sample:
        return each_conversation(given, lambda conv: _kept(conv, kind))

    return Target(name, write, keep)


def _kept(conv: Conversation, kind: _Kind) -> Conversation:
    """Arguments as values; no ids where the order says the same; tools in the prompt's terms."""
    conv = each_message(
        without_ids(conv), lambda message: each_call(without_null(message), given_as_values)
    )
    return replace(conv, tools=tuple(map(_plain_tool, conv.tools))) if kind.plain_tools else conv


def _plain_tool(tool: Tool) -> Tool:
    """The tool with a description, and without parameters where it takes none."""
    function = {"description": "", **tool.function}
    if function["description"] is None:
        function["description"] = ""
    if not function.get("parameters"):
        function.pop("parameters", None)
    return Tool({**tool.spec, "function": function})


def _write(given: Sample, agent: AgentTemplate, kind: _Kind) -> JSON:
    if isinstance(given, Chat):
        return _row(given.conversation, agent, kind)
    if isinstance(given, Feedback):
        return {**_row(given.conversation, agent, kind), "label": given.good}
    if isinstance(given, Prompt):
        return {**_row(given.conversation, agent, kind), **given.columns}
    if isinstance(given, Preference):
        raise DataError("a chosen and a rejected answer cannot be written as one text")
    return {"text": given.text, **given.columns}


def _row(conv: Conversation, agent: AgentTemplate, kind: _Kind) -> JSON:
    rest = {name: value for name, value in sides(conv).items() if name != "tools"}
    if any(message.calls or message.role is Role.TOOL for message in conv.messages):
        if not conv.tools:
            raise DataError("calls, but no tools that the prompt could list", hint='add "tools"')
    elif not conv.tools:
        return {"messages": [_said(m, m.text) for m in conv.messages], **rest}
    return {"messages": _messages(conv, agent, kind), **rest}


def _messages(conv: Conversation, agent: AgentTemplate, kind: _Kind) -> list[JSON]:
    first = conv.messages[0]
    system = first.text if first.role is Role.SYSTEM else None
    tool_text = agent.write_tools(conv.tools, system, None)
    prompt = Message(Role.SYSTEM) if system is None else first
    found = [_said(prompt, text_of(tool_text.system))]
    lead, index = text_of(tool_text.first_user), 0 if system is None else 1
    reply = _steps if kind.steps else _turns
    while index < len(conv.messages):
        message = conv.messages[index]
        if message.role in (Role.USER, Role.SYSTEM):
            opening = lead if message.role is Role.USER else ""
            lead = "" if opening else lead
            found.append(_said(message, opening + message.text))
            index += 1
            continue
        end = index
        while end < len(conv.messages) and conv.messages[end].role in (Role.ASSISTANT, Role.TOOL):
            end += 1
        found += reply(conv, range(index, end), agent, kind)
        index = end
    return found


def _steps(conv: Conversation, span: range, agent: AgentTemplate, kind: _Kind) -> list[JSON]:
    """One message that holds all steps of a reply."""
    pieces: list[str] = []
    spoken = [conv.messages[i] for i in span if conv.messages[i].role is Role.ASSISTANT]
    if not spoken:
        raise DataError("a result that answers no call")
    for index in span:
        message = conv.messages[index]
        if message.role is Role.TOOL:
            result = result_at(conv.messages, index, native=False)
            if result.call is None:
                raise DataError(f"messages[{index}]: a result that answers no call")
            pieces.append(text_of(agent.write_result(result)))
        else:
            pieces.append(_step(conv, index, bool(pieces), agent, kind))
    weights = [weights_of(part) for m in spoken for part in (m, *m.calls)]
    if any(weight != weights[0] for weight in weights):
        raise DataError("several weights in one reply, which has one weight as a text")
    return [_said(spoken[0], "".join(pieces))]


def _step(conv: Conversation, index: int, inside: bool, agent: AgentTemplate, kind: _Kind) -> str:
    """One assistant message; ``inside``: results or calls stand before it in the same text."""
    message = conv.messages[index]
    thought = ""
    if message.thinking is not None:
        if not kind.labels:
            raise DataError(f"messages[{index}]: thinking, for which the text has no place")
        thought = f"{THOUGHT} {message.thinking}\n"
    if not message.calls:
        label = f"{FINAL} " if kind.labels and (thought or inside) else ""
        return f"{thought}{label}{message.text}"
    if kind.labels and inside and message.text:
        raise DataError(
            f"messages[{index}]: text between a result and a call, where ReAct has thoughts",
            hint="make it the message's reasoning_content",
        )
    lead = f"{message.text}\n" if message.text else ""
    return lead + thought + _calls(conv, index, agent)


def _turns(conv: Conversation, span: range, agent: AgentTemplate, kind: _Kind) -> list[JSON]:
    """A message for each of the assistant's, and one for each result."""
    del kind
    found: list[JSON] = []
    for index in span:
        message = conv.messages[index]
        if message.role is Role.TOOL:
            result = replace(result_at(conv.messages, index, native=False), index=0, count=1)
            found.append(_said(message, text_of(agent.write_result(result))))
            continue
        if any(weights_of(call) != weights_of(message) for call in message.calls):
            raise DataError("several weights in one reply, which has one weight as a text")
        lead = f"{message.text}{agent.text_separator}" if message.text and message.calls else ""
        text = lead + _calls(conv, index, agent) if message.calls else message.text
        found.append(_said(message, text))
    return found


def _calls(conv: Conversation, index: int, agent: AgentTemplate) -> str:
    message = conv.messages[index]
    earlier = sum(len(m.calls) for m in conv.messages[:index])
    return text_of(agent.write_calls(message.calls, Step(conv.tools, message, earlier)))


def _said(message: Message, text: str) -> JSON:
    entry: JSON = {"role": "tool" if message.role is Role.TOOL else str(message.role)}
    if message.name is not None:
        entry["name"] = message.name
    if message.call_id is not None:
        entry["tool_call_id"] = message.call_id
    return {**entry, "content": text, **weights_of(message)}
