"""What a reply may look like, as formats of xgrammar's structural tags: plain JSON objects.

Source of the formats: xgrammar 0.2, ``xgrammar/structural_tag.py``. Nothing here imports it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from toolgrove.core.messages import JSON

_SPACES, _TABS = 16, 4


class Opening(NamedTuple):
    """How a reply's calls may begin: with ``mark``, and then as ``rest`` says, to their end.

    ``first``: only where the visible reply begins, not after text. ``lead``: what may stand before
    the mark, where text may not.
    """

    mark: str
    rest: JSON
    first: bool = False
    lead: str = ""


class Grammar(NamedTuple):
    """The calls of a reply, all of them.

    Text before them is free until one of the ``openings`` begins. ``never`` are further strings
    that text must not hold because a reader would take them for a call; the agent template's
    ``marks`` that stand in no opening are such strings by themselves. None of them may end where
    an opening's mark does. ``notes`` say what this grammar leaves wider than it is meant, or out.
    """

    openings: tuple[Opening, ...]
    never: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    text: Callable[[Sequence[str]], JSON] | None = None


def constant(text: str) -> JSON:
    """Exactly this text."""
    return {"type": "const_string", "value": text}


def sequence(*elements: JSON | str) -> JSON:
    """One after the other; a string stands for itself."""
    formats = [constant(item) if isinstance(item, str) else item for item in elements if item != ""]
    return formats[0] if len(formats) == 1 else {"type": "sequence", "elements": formats}


def choice(options: Sequence[JSON | str]) -> JSON:
    """One of them; a string stands for itself."""
    formats = [constant(item) if isinstance(item, str) else item for item in options]
    return formats[0] if len(formats) == 1 else {"type": "or", "elements": formats}


def optional(content: JSON) -> JSON:
    """It or nothing."""
    return {"type": "optional", "content": content}


def repeated(content: JSON) -> JSON:
    """It any number of times, or not at all."""
    return {"type": "star", "content": content}


def pattern(regex: str) -> JSON:
    """Text that a regular expression describes as a whole."""
    return {"type": "regex", "pattern": regex}


def any_text(excludes: Sequence[str] = ()) -> JSON:
    """Any text that holds none of these strings."""
    return {"type": "any_text", "excludes": [text for text in excludes if text]}


def rules_of(text: str) -> JSON:
    """What an EBNF grammar admits."""
    return {"type": "grammar", "grammar": text}


def called(openings: Sequence[Opening]) -> JSON:
    """One of the openings with what follows it."""
    return choice([sequence(opening.mark, opening.rest) for opening in openings])


def text_until(openings: Sequence[Opening], excludes: Sequence[str] = ()) -> JSON:
    """Free text and then, maybe, one of the openings with what follows it.

    The rule of the text names no tool wherever it can: what xgrammar computes for one list of tools
    then serves the next.
    """
    kept = [text for text in excludes if text]
    marks = [opening.mark for opening in openings]
    if _apart(marks, [*marks, *kept]):
        text = any_text([*marks, *kept])
        return sequence(text, optional(called(openings))) if openings else text
    rules: list[Any] = [[opening.mark, opening.rest] for opening in openings]
    return {"type": "dispatch", "rules": rules, "loop": False, "excludes": kept}


def _apart(marks: Sequence[str], barred: Sequence[str]) -> bool:
    """Whether a mark behind text that holds none of the barred strings is the first of them in the
    whole: none of them stands in a mark, or ends with what a mark begins with."""
    return not any(
        (other != mark and other in mark)
        or any(other.endswith(mark[:size]) for size in range(1, len(mark)))
        for mark in marks
        for other in barred
    )


def line_starts(mark: str) -> list[str]:
    """Strings one of which stands in every text with a later line that begins with the mark, behind
    spaces and tabs or not. They also stand in lines that begin with more than ``_SPACES`` spaces,
    more than ``_TABS`` tabs, or both."""
    spaces = [f"\n{' ' * count}" for count in range(_SPACES + 1)]
    tabs = ["\n" + "\t" * count for count in range(1, _TABS + 1)]
    marked = [f"{indent}{mark}" for indent in (*spaces, *tabs)]
    mixed = [*(f"{indent}\t" for indent in spaces[1:]), *(f"{indent} " for indent in tabs)]
    return [*marked, *mixed, f"{spaces[-1]} ", f"{tabs[-1]}\t"]
