"""Calls while training: held-out turns are asked of the model as it stands."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ConfigError
from toolgrove.core.messages import JSON
from toolgrove.engine.local import BATCH_ROWS, LocalEngine
from toolgrove.eval.outcome import RIGHT, Outcome
from toolgrove.eval.play import Play, in_batches
from toolgrove.eval.speakers import EngineSpeaker, Said
from toolgrove.eval.suite import Task
from toolgrove.eval.suites.agent import CALLS, tasks_of
from toolgrove.train.watchers import Seen

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.templates.dialect import Dialect
    from toolgrove.train.batches import Share
    from toolgrove.train.prepare import Prepared
    from toolgrove.train.recipe import SftSettings

ACCURACY = "tool_accuracy"
RESTRAINT = "tool_restraint"
VALID = "format_valid"
SHARES = {"names": "tool_names", "keys": "tool_keys", "values": "tool_values"}

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToolWatch:
    """Asks for turns of the validation data, each after the right ones before it, greedily.

    Of the turns that should call, ``tool_accuracy`` is the share in which all calls are right and
    in order, as the suite ``agent`` judges them; ``tool_names``, ``tool_keys`` and ``tool_values``
    are the shares of calls that are right so far. Of the others, ``tool_restraint`` is the share
    answered without a call. ``format_valid``: the reply ended by itself, and where a call is due
    every mark of one opened a readable call.
    """

    dialect: Dialect
    tok: Tokenizer
    tasks: Sequence[Task]
    max_new_tokens: int

    @property
    def names(self) -> Collection[str]:
        """The marks that these turns can tell."""
        calls = any(task.category == CALLS for task in self.tasks)
        others = any(task.category != CALLS for task in self.tasks)
        told = (ACCURACY, *SHARES.values()) if calls else ()
        return (*told, *((RESTRAINT,) if others else ()), VALID)

    def look(self, model: Any, share: Share) -> list[Seen]:
        """The turns of this process's share; those with the longest prompts first."""
        engine = LocalEngine(model, self.tok, as_it_is=True)
        speaker = EngineSpeaker(
            engine, self.dialect, self.tok, self.max_new_tokens, context=engine.context
        )
        numbers = {task.key: number for number, task in enumerate(self.tasks)}
        mine = sorted(self.tasks, key=lambda task: -task.size)[share.rank :: share.ranks]
        plays = (self._play(task) for task in mine)
        return [
            Seen(numbers[outcome.key], _marks(outcome), _line(outcome))
            for ended in in_batches(plays, speaker, BATCH_ROWS)
            for outcome in ended
        ]

    def _play(self, task: Task) -> Play:
        """The task, with whether the reply is valid among the notes of its outcome."""
        play = task.begin()
        said = yield next(play)
        try:
            play.send(said)
        except StopIteration as end:
            valid = self._is_valid(said, calls=task.category == CALLS)
            outcome: Outcome = end.value
            return replace(outcome, notes={**outcome.notes, VALID: valid})
        raise RuntimeError(f"{task.name} asked twice")

    def _is_valid(self, said: Said, *, calls: bool) -> bool:
        if not (said.ended and said.reply.complete):
            return False
        marks = self.dialect.agent.marks if self.dialect.agent else ()
        unread = any(mark in said.reply.content for mark in marks)
        return not (calls and unread)


def tool_watch(settings: SftSettings, prepared: Prepared) -> ToolWatch | None:
    """Watches the validation rows that the recipe wants answered; None where it wants none.

    ConfigError where these rows have no assistant turn to ask for.
    """
    if not settings.eval_generate:
        return None
    tasks = [
        task
        for number, chat in enumerate(prepared.answered)
        for task in tasks_of(chat.where or f"#{number}", chat.conversation.without_given())
    ]
    if not tasks:
        raise ConfigError(
            "eval_generate: the validation rows have no assistant turn to ask for",
            hint="more rows, or --eval_generate 0",
        )
    if not any(task.category == CALLS for task in tasks):
        _log.warning(
            "none of the %d validation rows that are answered has a call: %s is not told",
            len(prepared.answered),
            ACCURACY,
        )
    return ToolWatch(prepared.dialect, prepared.tok, tasks, settings.eval_max_new_tokens)


def _marks(outcome: Outcome) -> dict[str, float]:
    valid = {VALID: float(outcome.notes[VALID])}
    if outcome.category != CALLS:
        return {RESTRAINT: outcome.marks[RIGHT], **valid}
    shares = {name: outcome.marks[mark] for mark, name in SHARES.items()}
    return {ACCURACY: outcome.marks[RIGHT], **shares, **valid}


def _line(outcome: Outcome) -> JSON:
    """What is kept of a turn: what was wanted, what came, and why it is wrong."""
    return {
        "name": outcome.name,
        "right": outcome.right,
        "valid": outcome.notes[VALID],
        "reason": outcome.reason,
        "expected": outcome.expected,
        "text": outcome.texts[0],
    }
