"""Conversations with tools, replayed by an exported model and by the one it came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.encoding.encode import prompt_ids

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.engine.live import LiveEngine
    from toolgrove.templates.dialect import Dialect

NEAR_TIE = 0.1
"""Two tokens whose log-probabilities (nats) differ by less are told as a tie that rounding tips."""


class Speaker(NamedTuple):
    """An engine with the dialect and the tokenizer of its folder."""

    engine: LiveEngine
    dialect: Dialect
    tok: Tokenizer
    adapter: str | None = None


class Said(NamedTuple):
    """A reply's tokens, and for each the likeliest ones in its place with their log-probability."""

    ids: tuple[int, ...]
    likeliest: tuple[tuple[tuple[int, float], ...], ...]


@dataclass(frozen=True, slots=True)
class Replay:
    """How many prompts were built and replies generated, and which of them differ, in words.

    ``ties`` are replies that part at a token of nearly the same probability.
    """

    prompts: int
    replies: int
    other_prompts: tuple[str, ...] = ()
    other_replies: tuple[str, ...] = ()
    ties: tuple[str, ...] = ()

    @property
    def same(self) -> bool:
        """Whether all prompts and, but for near ties, all replies are equal."""
        return not self.other_prompts and not self.other_replies


def golden_talks(dialect: Dialect) -> list[Conversation]:
    """Conversations up to where a model goes on, those that lose nothing in a dialect."""
    found = [talk.until(count) for talk in _TALKS for count in _ends(talk)]
    return [talk for talk in found if not dialect.losses(talk)]


def replay(before: Speaker, after: Speaker, max_new_tokens: int = 48) -> Replay:
    """Builds the prompts of both and compares them token by token; generates greedily on both and
    compares the replies."""
    talks = golden_talks(before.dialect)
    ours = [prompt_ids(talk, before.dialect, before.tok) for talk in talks]
    theirs = [prompt_ids(talk, after.dialect, after.tok) for talk in talks]
    other = [_told(talk) for talk, a, b in zip(talks, ours, theirs, strict=True) if a != b]
    first, second = (_said(who, ours, max_new_tokens) for who in (before, after))
    wrong: list[str] = []
    ties: list[str] = []
    for talk, a, b in zip(talks, first, second, strict=True):
        gap = _gap(a, b.ids)
        if gap is not None:
            where = f"{_told(talk)}: {gap[1]}"
            (ties if gap[0] < NEAR_TIE else wrong).append(where)
    return Replay(len(talks), len(talks), tuple(other), tuple(wrong), tuple(ties))


def template_differences(folder: Path, dialect: Dialect) -> list[str]:
    """The conversations of which the chat template in ``folder``, run by transformers, makes
    another text than the dialect does, in words; empty: none."""
    from toolgrove.models.tokenizers import applied

    talks = golden_talks(dialect)
    made = applied(folder, talks)
    return [_told(a) for a, b in zip(talks, made, strict=True) if b != dialect.prompt(a)]


def _said(who: Speaker, prompts: Sequence[Sequence[int]], limit: int) -> list[Said]:
    from toolgrove.engine.base import Sampling
    from toolgrove.engine.live import Job

    sampling = Sampling(max_new_tokens=limit, stop=who.dialect.stops)
    ids: list[list[int]] = [[] for _ in prompts]
    scores: list[list[Any]] = [[] for _ in prompts]
    for number, prompt in enumerate(prompts):
        job = Job(tuple(prompt), sampling, adapter=who.adapter, top=5)
        who.engine.add(number, who.engine.prepare(job))
    going = len(prompts)
    while going:
        for piece in who.engine.step():
            ids[piece.number] += piece.ids
            scores[piece.number] += [score.top for score in piece.scores]
            going -= piece.finish is not None
    return [Said(tuple(i), tuple(s)) for i, s in zip(ids, scores, strict=True)]


def _gap(said: Said, other: tuple[int, ...]) -> tuple[float, str] | None:
    """Where another reply parts from one: the difference of the two tokens' log-probabilities
    there, in words, too; None where they are equal."""
    if said.ids == other:
        return None
    at = next(
        (i for i, (a, b) in enumerate(zip(said.ids, other, strict=False)) if a != b),
        min(len(said.ids), len(other)),
    )
    top = dict(said.likeliest[at]) if at < len(said.likeliest) else {}
    token = other[at] if at < len(other) else None
    if token not in top or said.ids[at] not in top:
        return float("inf"), f"token {at + 1} differs"
    gap = top[said.ids[at]] - top[token]
    return gap, f"token {at + 1} differs, by {gap:.3f} nats"


def _ends(talk: Conversation) -> list[int]:
    """After each user message and after the last result of each step."""
    roles = [message.role for message in talk.messages]
    following = [*roles[1:], Role.ASSISTANT]
    return [
        n
        for n, (role, after) in enumerate(zip(roles, following, strict=True), start=1)
        if role is Role.USER or (role is Role.TOOL and after is not Role.TOOL)
    ]


def _told(talk: Conversation) -> str:
    asked = next(m.text for m in reversed(talk.messages) if m.role is Role.USER)
    return f"{asked[:40]!r}, {len(talk.messages)} messages"


def _tool(name: str, about: str, required: Sequence[str], **properties: Any) -> Tool:
    schema = {"type": "object", "properties": properties, "required": list(required)}
    inner = {"name": name, "description": about, "parameters": schema}
    return Tool({"type": "function", "function": inner})


def _text(about: str) -> dict[str, Any]:
    return {"type": "string", "description": about}


def _user(text: str) -> Message:
    return Message(Role.USER, text)


def _called(*calls: ToolCall, text: str = "") -> Message:
    return Message(Role.ASSISTANT, text, calls=calls)


def _result(call: ToolCall, text: str) -> Message:
    return Message(Role.TOOL, text, name=call.name, call_id=call.id)


_WEATHER = _tool(
    "get_weather",
    "The weather of a city.",
    ["city"],
    city=_text("the city's name"),
    unit={"type": "string", "enum": ["celsius", "fahrenheit"]},
    days={"type": "integer", "description": "how many days ahead"},
)
_CLOCK = _tool("get_time", "The time at a place.", ["zone"], zone=_text("as Europe/Paris"))
_ORDER = _tool(
    "place_order",
    "Orders goods.",
    ["items"],
    items={
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"sku": {"type": "string"}, "n": {"type": "integer"}},
        },
    },
    note=_text("for the packers"),
)
_PARIS = ToolCall("get_weather", {"city": "Paris", "unit": "celsius"}, id="a1b2c3d4e")
_ROME = ToolCall("get_weather", {"city": "Rome", "days": 3}, id="f5g6h7i8j")
_NOON = ToolCall("get_time", {"zone": "Asia/Shanghai"}, id="k9l0m1n2o")
_BUY = ToolCall(
    "place_order",
    {"items": [{"sku": "Ä-7", "n": 2}, {"sku": "B", "n": 1}], "note": 'two lines\n"quoted"'},
    id="p3q4r5s6t",
)
_TALKS = (
    Conversation(
        (
            _user("What is the weather in Paris, in celsius?"),
            _called(_PARIS),
            _result(_PARIS, '{"temperature": 21, "sky": "clear"}'),
            Message(Role.ASSISTANT, "It is 21 degrees and clear in Paris."),
            _user("And in Rome for three days?"),
        ),
        (_WEATHER, _CLOCK),
    ),
    Conversation(
        (
            Message(Role.SYSTEM, "You answer with the tools that you have."),
            _user("Compare the weather in Paris and Rome."),
            _called(_PARIS, _ROME),
            _result(_PARIS, "21 degrees, clear"),
            _result(_ROME, "27 degrees, windy"),
        ),
        (_WEATHER,),
    ),
    Conversation(
        (
            _user("上海现在几点？"),
            _called(_NOON, text="我来查一下。"),
            _result(_NOON, "2026-01-15T12:00:00+08:00"),
        ),
        (_CLOCK, _WEATHER),
    ),
    Conversation(
        (
            _user("Order two of Ä-7 and one B."),
            _called(_BUY),
            _result(_BUY, '{"error": "<|im_end|> is not a part number"}'),
        ),
        (_ORDER,),
    ),
    Conversation((_user("Tell me a joke, without any tool."),), (_WEATHER, _CLOCK, _ORDER)),
    Conversation((_user("Hello! Who are you?"),)),
)
