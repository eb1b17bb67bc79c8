"""What stands beside the things said: rejected answers, labels, keys that nobody reads."""

from __future__ import annotations

from collections.abc import Iterator

from toolgrove.core.errors import did_you_mean
from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Spot, check, warning
from toolgrove.data.fields import as_list, describe, dump
from toolgrove.data.leftovers import unread_places
from toolgrove.data.pairs import RESPONSE
from toolgrove.data.samples import LABELS

_NEAR_LABELS = ("true", "false", "0", "1")
_BOOKKEEPING = frozenset(
    {
        "id",
        "uuid",
        "index",
        "timestamp",
        "created",
        "created_at",
        "updated_at",
        "model",
        "usage",
        "refusal",
        "annotations",
        "metadata",
        "cache_control",
        "finish_reason",
    }
)
"""Keys of messages that logs carry and that say nothing to a model."""
_READ = ("tool_calls", "function_call", "content", "reasoning_content", "loss", "loss_scale")


@check(
    warning(
        "empty-rejected",
        "a rejected answer without text: the model unlearns nothing but silence",
        "write what is to be unlearnt, or leave the row out",
    )
)
def empty_rejected(row: Examined) -> Iterator[Spot]:
    """Rejected answers that are text and empty."""
    value = row.conversation.extra.get("rejected_response")
    if isinstance(value, str) and not value.strip():
        column = next((n for n in ("rejected_response", "rejected") if n in row.row), "rejected")
        yield Spot(At(keys=(column,)), "an empty rejected answer")


@check(
    warning(
        "label-type",
        "a label that is nearly true or false: the row is not read as a verdict (KTO)",
        "write true or false",
    )
)
def label_type(row: Examined) -> Iterator[Spot]:
    """Labels that are 0, 1 or the words."""
    for name in LABELS:
        value = row.conversation.extra.get(name)
        if value is None or isinstance(value, bool):
            continue
        if isinstance(value, str | int | float) and str(value).strip().lower() in _NEAR_LABELS:
            wanted = str(value).strip().lower() in ("true", "1")
            yield Spot(At(keys=(name,)), f"the label is {describe(value)}", f"write {dump(wanted)}")


@check(
    warning(
        "unread-key",
        "a key of a message that no conversation keeps: what it says is lost",
        "rename it, or take it out",
    )
)
def unread_key(row: Examined) -> Iterator[Spot]:
    """Keys with a value that reading passes over, bookkeeping apart."""
    for keys in unread_places(row.row):
        name = str(keys[-1])
        if name not in _BOOKKEEPING:
            near = did_you_mean(name, _READ)
            yield Spot(At(keys=keys), f'nothing reads "{name}"', near or "")


@check(
    warning(
        "several-answers",
        "a list of answers, of which the first alone is learnt",
        "make a row of each answer, or keep one",
    )
)
def several_answers(row: Examined) -> Iterator[Spot]:
    """Columns with more than one answer in text to the row's question."""
    last = row.messages[-1].text
    for name in RESPONSE:
        answers = as_list(row.conversation.extra.get(name)) or []
        if len(answers) > 1 and answers[0] == last and len(set(map(str, answers))) > 1:
            yield Spot(At(keys=(name,)), f"{len(answers)} answers")
