"""Keeps training data apart from evaluation data: shared functions and questions are overlap."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from toolgrove.eval.cases import Case


class Key(NamedTuple):
    """Something that two cases must not share; ``text`` without regard to case and spacing."""

    what: str
    text: str


class Parted(NamedTuple):
    """The cases that share nothing with the evaluation, and those that do."""

    apart: list[Case]
    overlapping: list[Case]


def keys(case: Case) -> frozenset[Key]:
    """The names and descriptions of a case's functions, called or not, and its question."""
    found = {Key("question", _plain(case.question))}
    for function in case.functions:
        found.add(Key("name", _plain(str(function["name"]))))
        found.add(Key("description", _plain(str(function["description"]))))
    return frozenset(key for key in found if key.text)


def part(cases: Iterable[Case], evaluation: Iterable[Case]) -> Parted:
    """Parts the cases by whether they share a key with any case of the evaluation."""
    taken = frozenset[Key]().union(*(keys(case) for case in evaluation))
    parted = Parted([], [])
    for case in cases:
        (parted.overlapping if keys(case) & taken else parted.apart).append(case)
    return parted


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())
