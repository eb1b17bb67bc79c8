"""What a data set is made of: lengths, calls, tools, roles, languages, trained share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from toolgrove.core.messages import JSON, Role
from toolgrove.data.doctor.examined import Examined

MOST = 20_000
"""How many different names of tools are counted apart."""

_SCRIPTS = (
    (0x3040, 0x30FF, "Japanese"),
    (0xAC00, 0xD7AF, "Korean"),
    (0x3400, 0x9FFF, "Chinese"),
    (0x0400, 0x052F, "Cyrillic"),
    (0x0600, 0x06FF, "Arabic"),
    (0x0590, 0x05FF, "Hebrew"),
    (0x0900, 0x097F, "Devanagari"),
    (0x0E00, 0x0E7F, "Thai"),
    (0x0370, 0x03FF, "Greek"),
    (0x0041, 0x024F, "Latin"),
)


@dataclass(slots=True)
class Counts:
    """Counters of bounded size; lengths are counted in steps of a power of two or of 5 %."""

    rows: int = 0
    read: int = 0
    messages: Counter[str] = field(default_factory=Counter[str])
    lengths: Counter[int] = field(default_factory=Counter[int])
    turns: Counter[int] = field(default_factory=Counter[int])
    calls_per_turn: Counter[int] = field(default_factory=Counter[int])
    tools_offered: Counter[int] = field(default_factory=Counter[int])
    tools_called: Counter[str] = field(default_factory=Counter[str])
    languages: Counter[str] = field(default_factory=Counter[str])
    formats: Counter[str] = field(default_factory=Counter[str])
    tokens: int = 0
    trained: int = 0
    sequences: int = 0
    token_lengths: Counter[int] = field(default_factory=Counter[int])
    trained_shares: Counter[int] = field(default_factory=Counter[int])

    def add(self, row: Examined) -> None:
        """Counts a row that could be read."""
        self.read += 1
        self.lengths[step(sum(len(said.text) for said in row.texts))] += 1
        self.turns[min(len(row.messages), 64)] += 1
        self.tools_offered[min(len(row.tools), 64)] += 1
        for message in row.messages:
            self.messages[str(message.role)] += 1
            if message.role is Role.ASSISTANT:
                self.calls_per_turn[min(len(message.calls), 32)] += 1
        for called in row.calls:
            name = called.made.name
            known = name in self.tools_called or len(self.tools_called) < MOST
            self.tools_called[name if known else "(others)"] += 1
        self.languages[language(said.text for said in row.texts if said.at.call is None)] += 1

    def add_sequence(self, tokens: int, trained: int) -> None:
        """Counts a training sequence by its tokens."""
        self.sequences += 1
        self.tokens += tokens
        self.trained += trained
        self.token_lengths[step(tokens)] += 1
        self.trained_shares[5 * (20 * trained // max(tokens, 1))] += 1

    def as_json(self) -> JSON:
        """The counts as JSON; ``lengths`` are characters, by the largest number of each step."""
        counted: JSON = {
            "read": self.read,
            "messages": dict(self.messages),
            "characters": _by_number(self.lengths),
            "turns": _by_number(self.turns),
            "calls_per_turn": _by_number(self.calls_per_turn),
            "tools_offered": _by_number(self.tools_offered),
            "tools_called": dict(self.tools_called.most_common(50)),
            "languages": dict(self.languages.most_common()),
        }
        if self.sequences:
            counted |= {
                "sequences": self.sequences,
                "tokens": self.tokens,
                "trained_tokens": self.trained,
                "sequence_tokens": _by_number(self.token_lengths),
                "trained_percent": _by_number(self.trained_shares),
            }
        return counted


def step(number: int) -> int:
    """The power of two that a number does not exceed."""
    return 1 << max(number - 1, 0).bit_length()


def language(texts: Iterable[str], most: int = 2000) -> str:
    """The script that most letters of the first texts are written in, two where both are common.

    Chinese characters beside Japanese ones count as Japanese.
    """
    counted: Counter[str] = Counter()
    left = most
    for text in texts:
        sample = text[:left]
        left -= len(sample)
        if sample.isascii():
            counted["Latin"] += sum(map(str.isalpha, sample))
        else:
            counted.update(filter(None, map(_script, sample)))
        if left <= 0:
            break
    if counted["Japanese"] * 10 > counted["Chinese"]:
        counted["Japanese"] += counted.pop("Chinese", 0)
    counted = +counted
    total = counted.total()
    if not total:
        return "none"
    common = [name for name, count in counted.most_common(2) if count * 5 >= total]
    return " + ".join(common)


def _script(char: str) -> str:
    code = ord(char)
    if not char.isalpha():
        return ""
    return next((name for first, last, name in _SCRIPTS if first <= code <= last), "other")


def _by_number(counter: Counter[int]) -> JSON:
    return {str(number): counter[number] for number in sorted(counter)}
