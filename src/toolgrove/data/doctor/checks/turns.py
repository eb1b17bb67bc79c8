"""Who speaks when, and whether anything is said."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

from toolgrove.core.messages import Message, Role
from toolgrove.data.doctor.examined import Examined, after_thinking
from toolgrove.data.doctor.findings import At, Repair, Spot, check, error, warning
from toolgrove.data.fields import show

LONG = 40
"""How many characters an answer needs for its return in a later turn to be odd."""


EMPTY_ANSWER = error(
    "empty-answer",
    "an assistant turn without text and without calls: the model learns to say nothing",
    "write the answer, or leave the turn out",
)


@check(EMPTY_ANSWER)
def empty_answer(row: Examined) -> Iterator[Spot]:
    """Assistant turns with nothing in them but thinking at most."""
    for index, message in enumerate(row.messages):
        if message.role is not Role.ASSISTANT or message.calls:
            continue
        said = after_thinking(message.text)
        if not said.strip():
            thought = message.thinking or said != message.text
            what = "thinking and no answer" if thought else "an empty answer"
            yield Spot(At(index, None, ("content",)), what)


@check(
    warning(
        "empty-turn",
        "a user or system turn without text",
        "write its text, or leave the turn out",
    )
)
def empty_turn(row: Examined) -> Iterator[Spot]:
    """User and system turns with nothing in them."""
    for index, message in enumerate(row.messages):
        if message.role in (Role.USER, Role.SYSTEM) and not message.text.strip():
            yield Spot(At(index, None, ("content",)), f"an empty {message.role} turn")


@check(
    warning(
        "repeated-turn",
        "a turn that was there already",
        "keep it once",
    )
)
def repeated_turn(row: Examined) -> Iterator[Spot]:
    """A copy of the turn right before, which can be taken out; or an answer given twice."""
    answers: dict[str, int] = {}
    before: Message | None = None
    for index, message in enumerate(row.messages):
        text = message.text.strip()
        same = before is not None and _same(before, message)
        if same and text:
            what = f"the {message.role} turn before says the same: {show(text)}"
            repair = Repair(At(index), row.messages[index].content, remove=True)
            yield Spot(At(index), what, "take the copy out", repair)
        elif message.role is Role.ASSISTANT and not message.calls and len(text) >= LONG:
            if text in answers:
                what = f"messages[{answers[text]}] gave the same answer: {show(text)}"
                yield Spot(At(index), what)
            answers.setdefault(text, index)
        before = message


@check(
    warning(
        "assistant-first",
        "the assistant speaks first: a greeting may be meant, but some templates refuse it",
        "put the question before it, or leave the turn out",
    )
)
def assistant_first(row: Examined) -> Iterator[Spot]:
    """Rows of several turns that the assistant opens with a text."""
    index = next((n for n, m in enumerate(row.messages) if m.role is not Role.SYSTEM), None)
    if index is None or len(row.messages) == index + 1:
        return
    if row.messages[index].role is Role.ASSISTANT and not row.messages[index].calls:
        yield Spot(At(index), "the assistant speaks before anyone asked")


@check(
    error(
        "role-order",
        "turns in an order that no model is served in",
        "put the turns in order: system, user, assistant, calls with their results, assistant",
    )
)
def role_order(row: Examined) -> Iterator[Spot]:
    """The assistant calls before anyone asked, or speaks twice with nothing in between."""
    before: Message | None = None
    for index, message in enumerate(row.messages):
        if message.role is not Role.ASSISTANT:
            before = message
            continue
        first = before is None or before.role is Role.SYSTEM
        if first and message.calls and len(row.messages) > index + 1:
            yield Spot(At(index), "the assistant calls before anyone asked")
        elif before is not None and before.role is Role.ASSISTANT and not _same(before, message):
            yield Spot(At(index), "two assistant turns with nothing between them")
        before = message


@check(
    warning(
        "double-user",
        "two user turns in a row: served conversations alternate, and some templates refuse them",
        "join them to one turn, or put the answer between them",
    )
)
def double_user(row: Examined) -> Iterator[Spot]:
    """User turns right after another that says something else."""
    for index, (before, message) in enumerate(pairwise(row.messages), start=1):
        if before.role is message.role is Role.USER and not _same(before, message):
            yield Spot(At(index), "the turn before is the user's, too")


@check(
    warning(
        "late-system",
        "a system message that is not the first: many templates refuse it or move it",
        "put it first, or make it a user turn",
    )
)
def late_system(row: Examined) -> Iterator[Spot]:
    """System messages after the first message."""
    for index, message in enumerate(row.messages):
        if index and message.role is Role.SYSTEM:
            yield Spot(At(index), "a system message in the middle")


@check(
    warning(
        "open-end",
        "a row that ends before the assistant answers: its last turns train nothing",
        "add the answer, or leave the last turns out",
    )
)
def open_end(row: Examined) -> Iterator[Spot]:
    """Rows with answers whose last word is not the assistant's."""
    last = len(row.messages) - 1
    answered = any(message.role is Role.ASSISTANT for message in row.messages)
    if answered and row.messages[last].role is not Role.ASSISTANT:
        yield Spot(At(last), f"the last turn is the {row.messages[last].role}'s")


@check(
    error(
        "no-answer",
        "a row without an assistant turn: there is nothing to train",
        "add the answer to learn",
    )
)
def no_answer(row: Examined) -> Iterator[Spot]:
    """Rows in which the assistant never speaks."""
    if not any(message.role is Role.ASSISTANT for message in row.messages):
        yield Spot(At(), "no assistant turn")


@check(
    error(
        "all-masked",
        "a row whose own weights leave nothing to train",
        'set "loss": true on what is to be learnt, or leave the row out',
    )
)
def all_masked(row: Examined) -> Iterator[Spot]:
    """Rows whose ``loss`` or ``loss_scale`` is 0 on every turn and call of the assistant."""
    turns = [message for message in row.messages if message.role is Role.ASSISTANT]
    if turns and not any(_weighs(message) for message in turns):
        yield Spot(At(), f"all {len(turns)} assistant turns weigh nothing")


def _weighs(message: Message) -> bool:
    """Whether the row's own weights leave anything of the turn; a call without weights of its own
    has those of its turn."""
    weights = [
        (
            message.loss if call.loss is None else call.loss,
            message.loss_scale if call.loss_scale is None else call.loss_scale,
        )
        for call in message.calls
    ]
    if message.text.strip() or message.thinking or not message.calls:
        weights.append((message.loss, message.loss_scale))
    return any(loss is not False and scale != 0 for loss, scale in weights)


def _same(one: Message, other: Message) -> bool:
    """Whether two messages say the same; results do so rightly, when calls are repeated."""
    plain = not one.calls and not other.calls and one.role is not Role.TOOL
    return plain and one.role is other.role and one.text.strip() == other.text.strip()
