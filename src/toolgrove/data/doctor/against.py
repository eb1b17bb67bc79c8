"""Overlap with an evaluation set: what is asked there must not be learnt."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator

from toolgrove.core.messages import Conversation, Role
from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Found, Spot, error, warning
from toolgrove.data.doctor.sketch import Sketches, shingles

EVAL_OVERLAP = error(
    "eval-overlap",
    "a question of the evaluation set: what is measured with it means nothing",
    "leave the row out of training",
)
EVAL_NEAR = warning(
    "eval-near",
    "nearly a question of the evaluation set",
    "leave the row out, unless the likeness is chance",
)
LIKENESS = 0.8
SHORTEST = 4
"""Questions of fewer words, such as "hello", are nobody's own and not compared."""


class Against:
    """The questions of an evaluation set; a question is all that users say up to a turn."""

    def __init__(self, likeness: float = LIKENESS) -> None:
        self._exact: dict[bytes, int] = {}
        self._sketches = Sketches(likeness)
        self._names: list[str] = []
        self._numbers = array("L")

    def __len__(self) -> int:
        return len(self._names)

    def add(self, conv: Conversation, name: str) -> None:
        """Remembers the questions of an evaluation case."""
        number = len(self._names)
        self._names.append(name)
        for question in _questions(conv):
            self._exact.setdefault(_key(question), number)
        for question in list(_questions(conv))[:1]:
            self._sketches.add(shingles([question]))
            self._numbers.append(number)

    def examine(self, row: Examined) -> Iterator[Found]:
        """The questions of the row that the evaluation set asks, too; nearly, for the first one."""
        for index, message in enumerate(row.messages):
            if message.role is Role.USER and _long_enough(message.text):
                number = self._exact.get(_key(message.text))
                if number is not None:
                    at = At(index, None, ("content",))
                    yield Found(EVAL_OVERLAP, Spot(at, f"asked in {self._names[number]}"))
                    return
        for question in list(_questions(row.conversation))[:1]:
            near = self._sketches.nearest(shingles([question]), remember=False)
            if near is not None:
                name = self._names[self._numbers[near[0]]]
                first = next(i for i, m in enumerate(row.messages) if m.role is Role.USER)
                what = f"{near[1]:.0%} the same as {name}"
                yield Found(EVAL_NEAR, Spot(At(first, None, ("content",)), what))


def against(cases: Iterable[tuple[str, Conversation]]) -> Against:
    """The questions of all cases, each with its name."""
    made = Against()
    for name, conv in cases:
        made.add(conv, name)
    return made


def _questions(conv: Conversation) -> Iterator[str]:
    for message in conv.messages:
        if message.role is Role.USER and _long_enough(message.text):
            yield message.text


def _long_enough(text: str) -> bool:
    return len(text.split()) >= SHORTEST or len(text) >= 12


def _key(text: str) -> bytes:
    plain = " ".join("".join(c if c.isalnum() else " " for c in text.casefold()).split())
    return hashlib.blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=8).digest()
