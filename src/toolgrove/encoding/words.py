"""Words that are tokenized once: where a text can be cut without changing a token."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, TypeAlias, cast

from tokenizers import Tokenizer as Backend

_REMEMBERED = 8_000_000
"""How many characters of words are kept before the memory starts anew (some 100 MB)."""
_PER_WORD = 20
"""What a word counts beside its characters."""


Word: TypeAlias = tuple[tuple[int, ...], tuple[int, ...], int]
"""Tokens of a stretch of text: ids, the character each begins at, how long the text is. A plain
tuple: the garbage collector does not look into many thousands of those again and again."""
_IDS, _STARTS, _LENGTH = itemgetter(0), itemgetter(1), itemgetter(2)


class Piece:
    """A tokenized piece of text: its ids, and which of them begin before a character."""

    __slots__ = ("_asked", "_found", "_words", "ids")

    def __init__(self, words: list[Word]) -> None:
        self.ids: list[int] = list(chain.from_iterable(map(_IDS, words)))
        self._words = words
        self._asked: list[int] = []
        self._found: list[int] = []

    def counts(self, ends: list[int]) -> list[int]:
        """For each place (ascending) how many tokens begin before it; the last asked is kept."""
        if ends != self._asked:
            self._asked, self._found = list(ends), self._counted(ends)
        return self._found

    def _counted(self, ends: list[int]) -> list[int]:
        words = self._words
        lengths = [0, *accumulate(map(_LENGTH, words))]
        tokens = [0, *accumulate(map(len, map(_IDS, words)))]
        found: list[int] = []
        place = 0
        for end in ends:
            place = max(bisect_left(lengths, end, place) - 1, 0)
            inside = bisect_left(_STARTS(words[place]), end - lengths[place])
            found.append(tokens[place] + inside)
        return found


class Words:
    """Tokenizes text word by word, each word once, where that gives the same tokens.

    Law: ``piece(text).ids`` are the backend's own for the whole text. A cut stands before a space
    that follows a character that is not white space; ``cuts_at_spaces`` says for which tokenizers
    no token crosses it. For all others a text is one word.
    """

    def __init__(self, backend: Backend, settings: dict[str, Any]) -> None:
        self._backend = backend
        self._cuts = cuts_at_spaces(settings)
        self._first: dict[str, Word] = {}
        self._spaced: dict[str, Word] = {}
        self._remembered = 0

    def piece(self, text: str) -> Piece:
        """The tokens of a text, its words from memory where they are there."""
        if not self._cuts:
            return Piece([self._word(text)])
        parts = text.split(" ") if _is_plain(text) else _CUT.split(text)
        first, *spaced = parts
        known = self._first.get(first)
        if known is None:
            self._new([first])
            known = self._first[first] = self._word(first)
        try:
            words = [*map(self._spaced.__getitem__, spaced)]
        except KeyError:
            self._learn(spaced)
            words = [*map(self._spaced.__getitem__, spaced)]
        return Piece([known, *words])

    def learn(self, texts: Iterable[str]) -> None:
        """Remembers the words of texts that will be asked for, tokenized together: faster."""
        if not self._cuts:
            return
        spaced: set[str] = set()
        for text in set(texts):
            spaced.update((text.split(" ") if _is_plain(text) else _CUT.split(text))[1:])
        self._learn(list(spaced))

    def _word(self, text: str) -> Word:
        encoding = self._backend.encode(text, add_special_tokens=False)
        starts = tuple(start for start, _ in encoding.offsets)
        return tuple(encoding.ids), starts, len(text)

    def _learn(self, spaced: list[str]) -> None:
        """Remembers words that a space stands before, those that are new tokenized together.

        A word that ends in white space stands alone: behind it there is no cut.
        """
        parts = self._new(spaced)
        alone = [part for part in parts if not part or part[-1].isspace()]
        joined = [part for part in parts if part and not part[-1].isspace()]
        for part in alone:
            self._spaced[part] = self._word(f" {part}")
        text = "".join([f" {part}" for part in joined])
        encoding = self._backend.encode(text, add_special_tokens=False)
        ids = encoding.ids
        starts = [start for start, _ in encoding.offsets]
        first = begin = last = 0
        for part in joined:
            end = begin + len(part) + 1
            while last < len(starts) and starts[last] < end:
                last += 1
            own = tuple([start - begin for start in starts[first:last]])
            self._spaced[part] = (tuple(ids[first:last]), own, len(part) + 1)
            first, begin = last, end

    def _new(self, parts: list[str]) -> set[str]:
        """The parts that are not known yet; where the memory is full, it begins anew with these."""
        new = {part for part in set(parts) if part not in self._spaced}
        self._remembered += sum(map(len, new)) + _PER_WORD * len(new)
        if self._remembered > _REMEMBERED:
            self._first.clear()
            self._spaced.clear()
            self._remembered = 0
            return set(parts)
        return new


_CUT = re.compile(r"(?<=\S) ")
_BEFORE_NO_CUT = tuple(f"{blank} " for blank in " \n\t\r\x0b\x0c\x1c\x1d\x1e\x1f")


def _is_plain(text: str) -> bool:
    """Whether every space of the text, but one at its beginning, follows what is no white space."""
    return text.isascii() and not any(pair in text for pair in _BEFORE_NO_CUT)


def cuts_at_spaces(settings: dict[str, Any]) -> bool:
    """Whether no token of this ``tokenizer.json`` crosses the place before a space that follows a
    character other than white space, and the tokens on both sides depend on their side only.

    So it is where the text is split by regular expressions before the model sees it, and each
    alternative of these takes a space as its first character, or after white space only; and where
    the normalizer is none or NFC, which composes nothing with a space before it. An expression
    that is not known says no.
    """
    listed = cast("list[dict[str, Any]]", settings.get("added_tokens") or [])
    added = [token for token in listed if not token.get("special")]
    strips = ("lstrip", "rstrip", "single_word")
    if any(" " in token["content"] or any(token.get(key) for key in strips) for token in added):
        return False
    return _normalizes_apart(settings.get("normalizer")) and _splits_apart(
        settings.get("pre_tokenizer")
    )


def _steps(part: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = part[key] if part.get("type") == "Sequence" else [part]
    return cast("list[dict[str, Any]]", found)


def _normalizes_apart(part: dict[str, Any] | None) -> bool:
    return part is None or all(step["type"] == "NFC" for step in _steps(part, "normalizers"))


def _splits_apart(part: dict[str, Any] | None) -> bool:
    splits = False
    for step in _steps(part or {}, "pretokenizers"):
        kind = step.get("type")
        if kind == "ByteLevel" and not step.get("add_prefix_space", True):
            splits = splits or bool(step.get("use_regex", True))
        elif kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
            found = _alternatives(step["pattern"].get("Regex", "?"))
            if not found <= _SAFE:
                return False
            splits = splits or found >= _SPLIT_SPACES
        elif kind != "Digits":
            return False
    return splits


def _alternatives(regex: str) -> set[str]:
    """The alternatives of a regular expression, those inside groups left together."""
    plain = regex.replace("\r", r"\r").replace("\n", r"\n")
    found: list[str] = [""]
    depth, escaped, in_class = 0, False, False
    for char in plain:
        if char == "|" and not (depth or escaped or in_class):
            found.append("")
            continue
        found[-1] += char
        if not escaped and not in_class:
            depth += (char == "(") - (char == ")")
        if not escaped:
            in_class = char == "[" or (in_class and char != "]")
        escaped = char == "\\" and not escaped
    return set(found)


_SPLIT_SPACES = {r"\s+(?!\S)", r"\s+"}
_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_SAFE = frozenset(
    {
        *_SPLIT_SPACES,
        r"\s*[\r\n]+",
        _SUFFIX,
        *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"),
        *(r"\p{N}", r"\p{N}{1,3}", r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+"),
        _LEAD + r"\p{L}+",
        _LEAD + r"[\p{L}\p{M}]+",
        *(f"{_LEAD}{_UPPER}*{_LOWER}+{suffix}" for suffix in ("", _SUFFIX + "?")),
        *(f"{_LEAD}{_UPPER}+{_LOWER}*{suffix}" for suffix in ("", _SUFFIX + "?")),
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
        r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
        r" ?[\p{P}\p{S}]+[\r\n]*",
    }
)
"""Alternatives of the expressions of GPT-2, cl100k, o200k, Qwen and DeepSeek that take a space as
their first character, or none, or nothing but white space."""
