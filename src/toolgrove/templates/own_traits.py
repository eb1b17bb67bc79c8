"""How replies to a maker's own template are read: found by reading what the template writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Reply, ToolCall
from toolgrove.core.spans import CALL_KINDS, Kind, Span, text_of
from toolgrove.templates import probe
from toolgrove.templates.base import (
    AgentTemplate,
    Step,
    ThinkMarks,
    agent_registry,
    chat_registry,
)
from toolgrove.templates.jinja import MakersTemplate
from toolgrove.templates.own import OwnWriter
from toolgrove.templates.own_spans import Marks
from toolgrove.templates.readback import same_calls
from toolgrove.templates.reading import Reader
from toolgrove.templates.writing import Traits, Turn, rules_of, traits_of

_TOKEN = re.compile(r"<[|｜][^<>\s]{1,60}[|｜]>|<[a-z_]{2,30}>|</s>|<[a-z_]+\|>|\[/?[A-Z_]{3,30}\]")


class OwnReading(NamedTuple):
    """What a reader of an own template's replies must know; ``reason`` says how it was found."""

    traits: Traits
    agent_name: str | None
    agent: AgentTemplate | None
    reason: str


class _Sample(NamedTuple):
    """A reply that the template shows, and what must be read out of it."""

    prompt: str
    reply: list[Span]
    message: Message
    conversation: Conversation

    @property
    def calls(self) -> list[ToolCall]:
        """The calls that the reply shows."""
        shown = {span.call for span in self.reply if span.kind is Kind.CALL_NAME}
        return [call for n, call in enumerate(self.message.calls) if n in shown]

    @property
    def text(self) -> str:
        """The text that the reply shows."""
        shown = any(span.kind is Kind.TEXT for span in self.reply)
        return self.message.text.strip() if shown else ""

    @property
    def thinking(self) -> str | None:
        """The thinking that the reply shows; None: it shows none."""
        shown = any(span.kind is Kind.THINKING for span in self.reply)
        return self.message.thinking if shown else None


def reading_of(template: MakersTemplate, stops: Sequence[str]) -> OwnReading:
    """The marks, stops and agent template that read what this template writes best.

    ``stops``: the tokens that the model's own settings end a turn with.
    """
    samples = _samples(template)
    found = _stops_in(samples, stops)
    plain = [sample for sample in samples if not sample.message.calls]
    traits = _best_traits(plain, found)
    thinks = template.names_any(traits.think[:2])  # then its models do so unasked, for all we know
    traits = traits._replace(think=traits.think._replace(unasked=thinks))
    calling = [s for s in samples if any(span.kind in CALL_KINDS for span in s.reply)]
    if not calling:
        return OwnReading(traits, None, None, "it writes no calls")
    agent_name = _best_agent(calling, traits)
    agent = agent_registry.get(agent_name)() if agent_name else None
    framed = _framed(samples, traits, agent)
    if not any(_reads(sample, framed, agent) for sample in calling):
        reason = "no known agent template reads its calls, so they stay text in replies"
        return OwnReading(traits, None, None, reason)
    return OwnReading(framed, agent_name, agent, f"its calls are read as {agent_name}")


def _samples(template: MakersTemplate) -> list[_Sample]:
    writer = OwnWriter(template, Marks((), ThinkMarks()))
    samples: list[_Sample] = []
    for conv in probe.replies():
        turn = _last_turn(writer, conv) or _last_turn(writer, probe.with_given(conv))
        if turn is None:
            continue
        message = conv.messages[turn.message]
        samples.append(_Sample(text_of(turn.prompt), turn.completion, message, conv))
    return samples


def _last_turn(writer: OwnWriter, conv: Conversation) -> Turn | None:
    try:
        return writer.turns(conv, stopped=False)[-1]
    except TemplateError:
        return None


def _stops_in(samples: Sequence[_Sample], given: Sequence[str]) -> tuple[str, ...]:
    """What ends a turn: what stands behind what the model wrote, then the tokens of its settings.

    Behind a text it is one of the settings' tokens, else a mark that every turn ends with, else the
    last token that looks like one.
    """
    tails = [_tail(sample).rstrip() for sample in samples]
    seen: list[str] = []
    for sample, tail in zip(samples, tails, strict=True):
        known = [token for token in given if token and token in tail]
        whole = not sample.message.calls and tail and not re.search(r"\s", tail)
        tokens = [match.group() for match in _TOKEN.finditer(tail) if match.end() == len(tail)]
        if known:
            seen.append(known[0])
        elif whole and all(other.endswith(tail) for other in tails):
            seen.append(tail)
        elif tokens and not (seen and tail.endswith(tuple(seen))):
            seen.append(tokens[-1])
    return tuple(dict.fromkeys([*seen, *(token for token in given if token)]))


def _tail(sample: _Sample) -> str:
    """The template's own text behind a reply's last data."""
    last = max((n for n, span in enumerate(sample.reply) if _is_data(span)), default=-1)
    return text_of(sample.reply[last + 1 :])


def _is_data(span: Span) -> bool:
    return span.kind in (Kind.TEXT, Kind.THINKING, Kind.CALL_NAME, Kind.CALL_ARGS)


def _best_traits(samples: Sequence[_Sample], stops: tuple[str, ...]) -> Traits:
    """Of the ways in which the known chat templates frame a reply, the one that reads most."""
    known: Counter[Traits] = Counter()
    for name in chat_registry.names():
        traits = traits_of(chat_registry.get(name).build(name, None))
        think = traits.think._replace(unasked=True)
        plain = traits._replace(stop="", other_stops=(), think=think, suggested_agent="hermes")
        known[plain] += 1
    best, most = Traits(""), -1
    for traits, _ in known.most_common():
        framed = traits._replace(stop=stops[0] if stops else "", other_stops=stops[1:])
        read = sum(_reads(sample, framed, None) for sample in samples)
        if read > most:
            best, most = framed, read
    return best


class _Choice(NamedTuple):
    """How well an agent template reads: the whole replies that came back, those whose calls it
    writes alike, and how many makers use it."""

    replies: int
    written: int
    makers: int


def _best_agent(samples: Sequence[_Sample], traits: Traits) -> str | None:
    """The agent template that reads all calls; of several that which reads most beside them, then
    that which writes them alike, then that which most makers use."""
    used = Counter(chat_registry.get(name).native_agent for name in chat_registry.names())
    best, chosen = _Choice(-1, -1, -1), None
    for name in agent_registry.names():
        agent = agent_registry.get(name)()
        if not all(same_calls(_read(s, traits, agent).calls, s.calls) for s in samples):
            continue
        read = sum(_reads(sample, traits, agent) for sample in samples)
        written = sum(_writes(sample, agent) for sample in samples)
        choice = _Choice(read, written, used[name])
        if choice > best:
            best, chosen = choice, name
    return chosen


def _read(sample: _Sample, traits: Traits, agent: AgentTemplate | None) -> Reply:
    tools = sample.conversation.tools or None
    return Reader(rules_of(traits, agent), tools, sample.prompt).read(text_of(sample.reply))


def _reads(sample: _Sample, traits: Traits, agent: AgentTemplate | None) -> bool:
    """Whether thinking, text and calls come back out of a reply as they went in."""
    reply = _read(sample, traits, agent)
    thinking = (reply.thinking or "").strip() == (sample.thinking or "").strip()
    text = reply.content.strip() == sample.text
    return thinking and text and same_calls(reply.calls, sample.calls)


def _framed(samples: Sequence[_Sample], traits: Traits, agent: AgentTemplate | None) -> Traits:
    """The traits with the marks that would be left over in the text of the replies."""
    left: dict[str, None] = {}
    for sample in samples:
        content = _read(sample, traits, agent).content
        rest = content.replace(sample.text, "", 1) if sample.text else content
        tokens = _TOKEN.findall(rest)
        if tokens and not _TOKEN.sub("", rest).strip():
            left.update(dict.fromkeys(tokens))
    framed = traits._replace(wrappers=(*traits.wrappers, *left))
    before = sum(_reads(sample, traits, agent) for sample in samples)
    after = sum(_reads(sample, framed, agent) for sample in samples)
    return framed if left and after > before else traits


def _writes(sample: _Sample, agent: AgentTemplate) -> bool:
    step = Step(sample.conversation.tools, sample.message, native=True)
    try:
        return text_of(agent.write_calls(sample.message.calls, step)).strip() in text_of(
            sample.reply
        )
    except TemplateError:
        return False


def known_marks(traits: Traits) -> Marks:
    """The marks by which a turn's spans are named."""
    return Marks(tuple(stop for stop in (traits.stop, *traits.other_stops) if stop), traits.think)
