"""The contract of a conversion target, and the one way to write a sample for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON
from toolgrove.core.registry import Registry
from toolgrove.core.samples import Chat, Feedback, Preference, Prompt, Sample
from toolgrove.data.canonical import openai_messages, to_row
from toolgrove.data.fields import as_list, as_object, dump, show
from toolgrove.data.samples import sample


@dataclass(frozen=True, slots=True)
class Target:
    """A format to write: ``write`` makes a row of a sample, ``keep`` says what it may change.

    ``keep`` gives the sample with the same meaning in the target's own terms (ids made or left
    out, thinking moved into the text), and changes nothing where it was called before. Law: what
    ``write`` makes reads back as a sample of which ``keep`` makes the same, or it is refused.
    """

    name: str
    write: Callable[[Sample], JSON]
    keep: Callable[[Sample], Sample]


targets: Registry[Target] = Registry(
    "conversion target", "toolgrove.data.targets", "toolgrove.conversion_targets"
)


def written(given: Sample, target: Target) -> JSON:
    """The row that holds the sample; DataError with the place where the target cannot carry it."""
    kept = target.keep(given)
    row = target.write(kept)
    try:
        back = sample(row)
    except DataError as error:
        raise DataError(
            f"{target.name} cannot carry this row: what is written reads as an error: {error.what}",
            hint=error.hint,
        ) from None
    lost = difference(plain(kept), plain(target.keep(back)))
    if lost:
        raise DataError(
            f"{target.name} cannot carry this row: {lost}", hint="choose --to canonical"
        )
    return row


def plain(given: Sample) -> JSON:
    """All that a sample says as JSON, its place left out."""
    if isinstance(given, Chat):
        return {"kind": "chat", **to_row(given.conversation)}
    if isinstance(given, Feedback):
        return {"kind": "feedback", "good": given.good, **to_row(given.conversation)}
    if isinstance(given, Prompt):
        columns = dict(given.columns)
        return {"kind": "prompt", "columns": columns, **to_row(given.conversation)}
    if isinstance(given, Preference):
        answers = {
            "chosen": openai_messages(given.chosen),
            "rejected": openai_messages(given.rejected),
        }
        return {"kind": "preference", **answers, **to_row(given.context)}
    return {"kind": "text", "text": given.text, "columns": dict(given.columns)}


def difference(left: object, right: object, path: str = "") -> str:
    """The first place where two JSON values differ, in words; "" where they are the same.

    Types count: 1, 1.0, true and "1" are four values. The order of an object's keys does not.
    """
    ours, theirs = as_object(left), as_object(right)
    if ours is not None and theirs is not None:
        for key in [*ours, *(name for name in theirs if name not in ours)]:
            at = f"{path}.{key}" if path else key
            if key not in theirs:
                return f"{at} would be lost: {show(dump(ours[key]))}"
            if key not in ours:
                return f"{at} would be added: {show(dump(theirs[key]))}"
            if found := difference(ours[key], theirs[key], at):
                return found
        return ""
    some, others = as_list(left), as_list(right)
    if some is not None and others is not None:
        for index, (one, other) in enumerate(zip(some, others, strict=False)):
            if found := difference(one, other, f"{path}[{index}]"):
                return found
        same = len(some) == len(others)
        return "" if same else f"{path}: {len(some)} would become {len(others)}"
    if type(left) is type(right) and left == right:
        return ""
    return f"{path}: {show(dump(left))} would become {show(dump(right))}"
