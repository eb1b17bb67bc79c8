"""A conversation between a user and an agent that thinks, calls tools and observes."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import cast

from toolgrove.agent.checking import arguments_of, problem_with
from toolgrove.agent.events import Calling, Ended, Event, Over, Returned, Said
from toolgrove.agent.model import Model
from toolgrove.agent.permission import EVERYTHING, Permission
from toolgrove.agent.repeats import Repeats, Verdict
from toolgrove.agent.results import MOST_CHARS, Outcome
from toolgrove.agent.running import Job, by_hand, failed, run_all
from toolgrove.agent.tools import Toolbox
from toolgrove.core.errors import ToolgroveError
from toolgrove.core.messages import JSON, Conversation, Message, Reply, Role, ToolCall
from toolgrove.data.canonical import to_row
from toolgrove.data.doctor.schemas import Schemas
from toolgrove.engine.base import Finish
from toolgrove.templates.reading import Delta, DeltaKind

RUNS = "agent_runs"
"""The column of a transcript that says how each question was worked on."""

_NOT_RUN = "not run: the work was stopped before"


@dataclass(frozen=True, slots=True)
class Limits:
    """How long an agent may work on one question; None: as long as it likes.

    ``steps`` counts replies of the model, ``tokens`` those that it generates. ``repeats``: how
    often a call may bring the same result (0: any number of times). ``result_chars``: how much of
    a result the model is given.
    """

    steps: int | None = 20
    tokens: int | None = None
    seconds: float | None = None
    call_s: float = 60.0
    repeats: int = 3
    result_chars: int = MOST_CHARS


@dataclass
class Work:
    """What was done on one question so far."""

    started: float
    steps: int = 0
    tokens: int = 0
    calls: int = 0
    errors: int = 0
    over: Over | None = None
    seconds: float = 0.0

    def told(self) -> JSON:
        """As a transcript has it."""
        over = self.over or Over(Ended.INTERRUPTED)
        told: JSON = {
            "ended": str(over.ended),
            "steps": self.steps,
            "tokens": self.tokens,
            "calls": self.calls,
            "errors": self.errors,
            "seconds": round(self.seconds, 3),
        }
        return {**told, "detail": over.detail} if over.detail else told


@dataclass
class Session:
    """A conversation that goes on.

    Laws: all that was said, called and returned is in ``conversation``, also when the user stops
    the work in the middle or an error ends it; every call in it has a result behind it; whatever a
    tool does, the work goes on or ends with an ``Over``.
    """

    model: Model
    toolbox: Toolbox = field(default_factory=Toolbox)
    permission: Permission = field(default_factory=lambda: Permission((EVERYTHING,)))
    limits: Limits = field(default_factory=Limits)
    conversation: Conversation = field(default_factory=lambda: Conversation(()))
    works: list[Work] = field(default_factory=list[Work])

    def __post_init__(self) -> None:
        self._schemas = Schemas()

    def add(self, *messages: Message) -> None:
        """Puts messages behind those that are there."""
        talk = self.conversation
        self.conversation = replace(talk, messages=(*talk.messages, *messages))

    def ask(self, text: str) -> Iterator[Event]:
        """Asks, and tells what the agent does until it answers or has to end."""
        self.add(Message(Role.USER, text))
        return self.go()

    def go(self) -> Iterator[Event]:
        """Works on what stands in the conversation; the last event, and only it, is an ``Over``.

        Ctrl-C, and closing the iterator, end the work; what was told until then is kept. Errors of
        the model are raised.
        """
        work = Work(time.monotonic())
        self.works.append(work)
        self.conversation = replace(self.conversation, tools=self.toolbox.offered)
        repeats = Repeats(self.limits.repeats)
        try:
            while work.over is None:
                work.over = self._limit(work)
                if work.over is None:
                    yield from self._step(work, repeats)
        except KeyboardInterrupt:
            work.over = Over(Ended.INTERRUPTED)
        except GeneratorExit:
            work.over = Over(Ended.INTERRUPTED)
            raise
        except ToolgroveError as error:
            work.over = Over(Ended.FAILED, error.what)
            raise
        finally:
            work.seconds = time.monotonic() - work.started
            self._answer_all()
        yield work.over

    def transcript(self) -> JSON:
        """The conversation as a canonical row, with how each question was worked on."""
        return {**to_row(self.conversation), RUNS: [work.told() for work in self.works]}

    def _limit(self, work: Work) -> Over | None:
        limits = self.limits
        if limits.steps is not None and work.steps >= limits.steps:
            return Over(Ended.STEPS, f"{work.steps} replies, and no answer among them")
        if limits.tokens is not None and work.tokens >= limits.tokens:
            return Over(Ended.TOKENS, f"{work.tokens} tokens generated")
        if self._time_left(work) <= 0:
            return Over(Ended.TIME, f"{limits.seconds:g} s are over")
        return None

    def _time_left(self, work: Work) -> float:
        if self.limits.seconds is None:
            return float("inf")
        return work.started + self.limits.seconds - time.monotonic()

    def _step(self, work: Work, repeats: Repeats) -> Iterator[Event]:
        """One reply, and the results of its calls."""
        work.steps += 1
        said = yield from self._reply(work)
        if work.over is not None:
            return
        calls = self.conversation.messages[-1].calls
        if calls:
            yield from self._observe(calls, work, repeats)
        elif said.finish is Finish.LENGTH:
            work.over = Over(Ended.LENGTH, f"the reply was cut at {said.tokens} tokens")
        elif not said.reply.complete:
            work.over = Over(Ended.UNREADABLE, "the reply breaks off inside thinking or a call")
        else:
            work.over = Over(Ended.ANSWER)

    def _reply(self, work: Work) -> Iterator[Event]:
        """The model's reply, which is added to the conversation; as far as it came, when it is
        stopped."""
        room = None if self.limits.tokens is None else self.limits.tokens - work.tokens
        stream = self.model.stream(self.conversation, room)
        heard = _Heard()
        try:
            for event in stream:
                if isinstance(event, Said):
                    work.tokens += event.tokens
                    self.add(self._message(event.reply))
                    yield event
                    return event
                heard.take(event)
                yield event
                if self._time_left(work) <= 0:
                    work.over = Over(Ended.TIME, f"{self.limits.seconds:g} s are over")
                    break
        except (KeyboardInterrupt, GeneratorExit):
            if self.conversation.messages[-1].role is not Role.ASSISTANT:
                self.add(self._message(heard.reply()))
            raise
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
        reply = heard.reply()
        self.add(self._message(reply))
        return Said(reply, Finish.LENGTH)

    def _message(self, reply: Reply) -> Message:
        count = sum(len(message.calls) for message in self.conversation.messages)
        calls = tuple(
            call if call.id else replace(call, id=f"call{number:05d}")
            for number, call in enumerate(reply.calls, count)
        )
        return Message(Role.ASSISTANT, reply.content, reply.thinking, calls)

    def _observe(
        self, calls: tuple[ToolCall, ...], work: Work, repeats: Repeats
    ) -> Iterator[Event]:
        """Runs the calls of one reply at once; their results stand in the calls' order."""
        outcomes: dict[int, Outcome] = {}
        try:
            jobs: dict[int, Job] = {}
            for index, call in enumerate(calls):
                yield Calling(index, call)
                found = self._before(call, work, repeats)
                if isinstance(found, Job):
                    jobs[index] = found
                else:
                    outcomes[index] = found
                    yield Returned(index, call, found)
            for index, outcome in self._run(jobs, work):
                outcomes[index] = outcome
                repeats.returned(calls[index].name, jobs[index].arguments, outcome.text)
                yield Returned(index, calls[index], outcome)
        except (KeyboardInterrupt, GeneratorExit):
            self.toolbox.stop()
            raise
        finally:
            work.calls += len(calls)
            work.errors += sum(outcome.error for outcome in outcomes.values())
            for index, call in enumerate(calls):
                self.add(_result(call, outcomes.get(index) or failed(_NOT_RUN)))

    def _run(self, jobs: dict[int, Job], work: Work) -> Iterator[tuple[int, Outcome]]:
        """The outcomes: those that a person types one after the other, the others at once."""
        limit = self.limits.result_chars
        for index in [index for index, job in jobs.items() if job.tool.by_hand]:
            yield index, by_hand(jobs[index], limit)
        others = {index: job for index, job in jobs.items() if not job.tool.by_hand}
        yield from run_all(others, max(min(self.limits.call_s, self._time_left(work)), 0.0), limit)

    def _before(self, call: ToolCall, work: Work, repeats: Repeats) -> Job | Outcome:
        """What stands between a call and its tool."""
        problem = problem_with(call, self.toolbox, self._schemas)
        tool, arguments = self.toolbox.find(call.name), arguments_of(call)
        known = arguments if arguments is not None else {}
        verdict = repeats.verdict(call.name, known)
        if verdict is Verdict.END:
            work.over = Over(Ended.REPEATED, f"{call.name} was called again and again")
        if verdict is not Verdict.RUN:
            return failed(
                f'"{call.name}" was called with these arguments {self.limits.repeats} times and '
                "gave the same result, which stands above; answer with it, or do something else"
            )
        if problem is not None or tool is None or arguments is None:
            outcome = failed(problem or "")
            repeats.returned(call.name, known, outcome.text)
            return outcome
        refusal = self.permission.refusal(tool, call)
        if refusal is not None:
            return failed(refusal)
        return Job(tool, arguments)

    def _answer_all(self) -> None:
        """Gives the last calls results where the work ended before they had any."""
        last = self.conversation.messages[-1] if self.conversation.messages else None
        if last is not None and last.role is Role.ASSISTANT and last.calls:
            self.add(*(_result(call, failed(_NOT_RUN)) for call in last.calls))


def _result(call: ToolCall, outcome: Outcome) -> Message:
    return Message(Role.TOOL, outcome.text, name=call.name, call_id=call.id)


class _Heard:
    """What was heard of a reply that may never end."""

    def __init__(self) -> None:
        self._thinking: list[str] = []
        self._text: list[str] = []
        self._names: list[str] = []
        self._arguments: list[str] = []

    def take(self, delta: Delta) -> None:
        """One more piece."""
        if delta.kind is DeltaKind.THINKING:
            self._thinking.append(delta.text)
        elif delta.kind is DeltaKind.TEXT:
            self._text.append(delta.text)
        elif delta.kind is DeltaKind.CALL_NAME:
            self._names.append(delta.text)
            self._arguments.append("")
        elif self._arguments:
            self._arguments[-1] += delta.text

    def reply(self) -> Reply:
        """The reply as far as it came; a call that is not whole is left out."""
        calls: list[ToolCall] = []
        for name, written in zip(self._names, self._arguments, strict=True):
            try:
                arguments = json.loads(written)
            except ValueError:
                break
            if isinstance(arguments, dict):
                calls.append(ToolCall(name, cast(JSON, arguments)))
        thinking = "".join(self._thinking) if self._thinking else None
        return Reply(thinking, "".join(self._text), tuple(calls), complete=False)
