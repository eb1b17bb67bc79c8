"""Tool-call cases: a question, the tools on offer, the answers that count as right."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, TypeVar

from toolgrove.core.errors import EvalError
from toolgrove.core.messages import JSON, Conversation, Reply, Role, ToolCall


@dataclass(frozen=True, slots=True)
class Accepted:
    """One call that is wanted: for each argument the values that are right.

    The empty string among an argument's values says that the argument may be left out.
    """

    name: str
    arguments: Mapping[str, Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Case:
    """One question with its tools. ``functions`` are the tools as the benchmark wrote them.

    ``gold`` lists the wanted calls; it is empty where no tool fits and none may be called, and
    where with ``any_call`` whatever call is right.
    """

    name: str
    category: str
    conversation: Conversation
    functions: tuple[JSON, ...]
    gold: tuple[Accepted, ...]
    any_call: bool = False

    @property
    def question(self) -> str:
        """What the user said, all turns together."""
        users = (m.text for m in self.conversation.messages if m.role is Role.USER)
        return "\n".join(users)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a checker says of a reply's calls, with the reason when they are wrong."""

    right: bool
    reason: str = ""
    kind: str = ""


class Named(Protocol):
    """Whatever belongs to a category."""

    @property
    def category(self) -> str:
        """The category's name."""
        ...


T = TypeVar("T", bound=Named)


class Checker(Protocol):
    """Judges the calls of a reply against a case."""

    def check(self, case: Case, calls: Sequence[ToolCall]) -> Verdict:
        """Whether these calls, and no others, answer the case."""
        ...


class Judged(NamedTuple):
    """What became of a reply to a case.

    ``format``: the reply ended by itself and held readable calls (none where none fits).
    ``function``: the called names are the wanted ones. ``verdict``: whether the calls are right.
    """

    format: bool
    function: bool
    verdict: Verdict


def judge(case: Case, reply: Reply, *, ended: bool, checker: Checker) -> Judged:
    """Format, function and verdict of a reply; each one holds only where the one before does.

    ``ended`` says that the model stopped by itself and was not cut off.
    """
    wanted = sorted(accepted.name for accepted in case.gold)
    called = sorted(call.name for call in reply.calls)
    calling = bool(wanted) or case.any_call
    if not (ended and reply.complete and bool(called) == calling):
        return Judged(False, False, Verdict(False, _malformed(reply, ended, calling), "format"))
    if case.any_call or not wanted:
        return Judged(True, True, Verdict(True))
    if called != wanted:
        reason = f"called {', '.join(called)}; wanted: {', '.join(wanted)}"
        return Judged(True, False, Verdict(False, reason, "function"))
    return Judged(True, True, checker.check(case, reply.calls))


def verdict(case: Case, calls: Sequence[ToolCall], checker: Checker) -> Verdict:
    """The benchmark's own verdict, which looks at nothing but the calls that can be read."""
    if case.any_call:
        return Verdict(True) if calls else Verdict(False, "no call where one was due", "no_call")
    if not case.gold:
        return Verdict(False, "a call where no tool fits", "call") if calls else Verdict(True)
    return checker.check(case, calls)


def sample(cases: Sequence[T], count: int | None, seed: int) -> list[T]:
    """``count`` of the cases, the same ones for the same seed, in the order they came."""
    if count is None:
        return list(cases)
    if count > len(cases):
        name = cases[0].category if cases else "this category"
        raise EvalError(
            f"{name} has {len(cases)} cases, not {count}", hint="leave the number out to take all"
        )
    chosen = random.Random(seed).sample(range(len(cases)), count)
    return [cases[index] for index in sorted(chosen)]


def _malformed(reply: Reply, ended: bool, wanted: bool) -> str:
    if not ended:
        return "cut off: the reply did not end by itself"
    if not reply.complete:
        return "the reply ended inside a call"
    return "no readable call" if wanted else "a call where no tool fits"
