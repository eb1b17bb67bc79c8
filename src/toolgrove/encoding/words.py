"""Words that are tokenized once: where a text can be cut without changing a token."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import accumulate
from struct import Struct
from typing import Any, NamedTuple, TypeAlias

from tokenizers import Tokenizer as Backend

from toolgrove.encoding.splitting import ascii_splitter, cuts_at_spaces

_REMEMBERED = 8_000_000
"""How many characters each memory of texts keeps before it starts anew (some 100 MB for words)."""
_PER_TEXT = 20
"""What a text that is kept counts beside its characters."""
_LONG = 100
"""Characters of a part from which on its tokens are kept as long as there is room."""
_SHORT_PARTS = 2000
"""How many shorter ones are kept: most are said once, but a template's own come again and again."""


_ONE_ID = Struct("=i")

Ids: TypeAlias = bytes
"""Ids as the bytes of an ``array("i")``: many of them are joined faster than numbers are copied."""


class Word(NamedTuple):
    """The tokens of a stretch of text, and the character that each begins at."""

    ids: Ids
    starts: tuple[int, ...]


class Piece(NamedTuple):
    """Text that is tokenized as a whole: its ids and, for each of the parts that it was given in,
    how many tokens begin before the part's end."""

    ids: array[int]
    ends: list[int]


class _Part(NamedTuple):
    """A part of a text: what stands before its first cut, between its cuts, after the last one.

    ``inside`` None: there is no cut in it, and ``head`` is all of it.
    """

    head: str
    inside: Ids | None
    tail: str


class Words:
    """Tokenizes text word by word, each word once, where that gives the same tokens.

    Law: ``tokens(parts).ids`` are the backend's own for the whole text. A cut stands before a space
    that follows a character that is not white space; ``cuts_at_spaces`` says for which tokenizers
    no token crosses it. For all others a text is one word. Where ``ascii_splitter`` knows what a
    tokenizer splits ASCII words into, each such split is given to its model once.
    """

    def __init__(self, backend: Backend, settings: dict[str, Any]) -> None:
        self._backend = backend
        self._cuts = cuts_at_spaces(settings)
        splitter = ascii_splitter(settings)
        self._splits = None if splitter is None else _Splits(backend, splitter)
        self._spaced = _Spaced(backend, self._splits)
        self._words: dict[str, Word] = {}
        self._parts: dict[str, _Part] = {}
        self._short: dict[str, _Part] = {}
        self._held = 0

    def tokens(self, parts: Sequence[str]) -> Piece:
        """The tokens of a text that is given in parts."""
        ids = array("i")
        return Piece(ids, self.add(ids, parts))

    def add(self, ids: array[int], parts: Sequence[str]) -> list[int]:
        """Appends the tokens of a text that is given in parts; for each of these, how many ids
        there are before its end, those of before included."""
        if not self._cuts:
            whole = self._tokenized("".join(parts))
            before = len(ids)
            ids.frombytes(whole.ids)
            return _counted(before, whole, _ends(parts))
        counts: list[int] = []
        word, ends = "", list[int]()
        for text in parts:
            if text[:1] == " " and word and not word[-1].isspace():
                counts += self._add(word, ends, ids)
                word, ends = "", []
            if " " in text:
                head, inside, tail = (
                    self._parts.get(text) or self._short.get(text) or self._part(text)
                )
                word += head
                if inside is not None:
                    counts += self._add(word, ends, ids)
                    ids.frombytes(inside)
                    word, ends = tail, []
            else:
                word += text
            ends.append(len(word))
        counts += self._add(word, ends, ids)
        return counts

    def _add(self, text: str, ends: list[int], ids: array[int]) -> list[int]:
        """Appends a word; how many tokens there are before each of these places in it."""
        if len(ends) == 1 and ends[0] == len(text) > 1 and text[0] == " ":
            ids.frombytes(self._spaced[text[1:]])
            return [len(ids)]
        word = self._words.get(text)
        if word is None:
            self._make_room(text)
            word = self._words[text] = self._tokenized(text)
        before = len(ids)
        ids.frombytes(word[0])
        if len(ends) == 1 and ends[0] == len(text):
            return [len(ids)]
        return _counted(before, word, ends) if ends else ends

    def learn(self, texts: Iterable[str]) -> None:
        """Remembers the words of texts that will be asked for, tokenized together: faster."""
        if not self._cuts or self._splits is not None:
            return
        spaced: set[str] = set()
        for text in set(texts):
            spaced.update(_cut(text)[1:-1])
        self._spaced.learn(spaced)

    def _part(self, text: str) -> _Part:
        words = _cut(text)
        if not words[1:]:
            return _Part(text, None, "")
        inside = words[1:-1]
        if self._splits is None or not text.isascii():
            self._spaced.learn(set(inside))
        ids = b"".join(map(self._spaced.__getitem__, inside))
        part = _Part(words[0], ids, f" {words[-1]}")
        if len(text) < _LONG:
            if len(self._short) >= _SHORT_PARTS:
                self._short.clear()
            self._short[text] = part
        else:
            self._make_room(text)
            self._parts[text] = part
        return part

    def _tokenized(self, text: str) -> Word:
        if self._splits is not None and text.isascii():
            return self._splits.word(text)
        return _encoded(self._backend, text)

    def _make_room(self, text: str) -> None:
        """Counts a text that will be kept; where the memory is full, it begins anew."""
        self._held += len(text) + _PER_TEXT
        if self._held > _REMEMBERED:
            self._words.clear()
            self._parts.clear()
            self._held = len(text) + _PER_TEXT


class _Spaced(dict[str, Ids]):
    """The tokens of words that a space stands before; a word that is not known is tokenized."""

    def __init__(self, backend: Backend, splits: _Splits | None) -> None:
        super().__init__()
        self._backend = backend
        self._splits = splits
        self._held = 0

    def __missing__(self, word: str) -> Ids:
        splits = self._splits
        if splits is not None and word.isascii():
            ids = b"".join(map(splits.__getitem__, splits.split(f" {word}")))
        else:
            ids = _encoded(self._backend, f" {word}").ids
        self._keep(word, ids)
        return ids

    def learn(self, words: set[str]) -> None:
        """Remembers those of the words that are new, tokenized together.

        A word that ends in white space stands alone: behind it there is no cut.
        """
        new = [word for word in words if word not in self and word and not word[-1].isspace()]
        if not new:
            return
        joined = "".join([f" {word}" for word in new])
        encoding = self._backend.encode(joined, add_special_tokens=False)
        ids = encoding.ids
        starts = [start for start, _ in encoding.offsets]
        first = end = 0
        for word in new:
            end += len(word) + 1
            last = bisect_left(starts, end, first)
            self._keep(word, array("i", ids[first:last]).tobytes())
            first = last

    def _keep(self, word: str, ids: Ids) -> None:
        self._held += len(word) + _PER_TEXT
        if self._held > _REMEMBERED:
            self.clear()
            self._held = len(word) + _PER_TEXT
        self[word] = ids


class _Splits(dict[str, Ids]):
    """The tokens of what ASCII text is split into; a split that is not known is tokenized."""

    def __init__(self, backend: Backend, splitter: re.Pattern[str]) -> None:
        super().__init__()
        self._backend = backend
        self._model = backend.model
        self.split = splitter.findall
        self._lacking = _lacking(backend)
        self._starts: dict[str, list[int]] = {}
        """where the tokens of a split begin that has several"""
        self._held = 0

    def __missing__(self, split: str) -> Ids:
        if self._lacking is not None and self._lacking.search(split):
            return _encoded(self._backend, split).ids
        self._held += len(split) + _PER_TEXT
        if self._held > _REMEMBERED:
            self.clear()
            self._held = len(split) + _PER_TEXT
        letters = split.replace(" ", _SPACE) if split.isprintable() else split.translate(_LETTERS)
        found = self._model.tokenize(letters)
        if len(found) == 1:
            ids = self[split] = _ONE_ID.pack(found[0].id)
            return ids
        ends = accumulate([len(token.value) for token in found[:-1]], initial=0)
        self._starts[split] = list(ends)
        ids = self[split] = array("i", [token.id for token in found]).tobytes()
        return ids

    def word(self, text: str) -> Word:
        """The tokens of an ASCII text with their places."""
        if self._lacking is not None and self._lacking.search(text):
            return _encoded(self._backend, text)
        splits = self.split(text)
        ids = list(map(self.__getitem__, splits))
        starts: list[int] = []
        place = 0
        for split, own in zip(splits, ids, strict=True):
            if len(own) == _ONE_ID.size:
                starts.append(place)
            elif (inside := self._starts.get(split)) is not None:
                starts += [place + start for start in inside]
            else:  # the memory began anew in between
                return _encoded(self._backend, text)
            place += len(split)
        return Word(b"".join(ids), tuple(starts))

    def clear(self) -> None:
        """Forgets all splits."""
        super().clear()
        self._starts.clear()


def _lacking(backend: Backend) -> re.Pattern[str] | None:
    """The ASCII characters that the vocabulary has no letter of; None where it has all of them."""
    characters = map(chr, range(0x80))
    lacking = [c for c in characters if backend.token_to_id(c.translate(_LETTERS)) is None]
    return re.compile(f"[{re.escape(''.join(lacking))}]") if lacking else None


def _encoded(backend: Backend, text: str) -> Word:
    encoding = backend.encode(text, add_special_tokens=False)
    ids = array("i", encoding.ids).tobytes()
    return Word(ids, tuple([start for start, _ in encoding.offsets]))


def _counted(before: int, word: Word, ends: list[int]) -> list[int]:
    """How many tokens begin before each of these places in a word, ``before`` it included."""
    return [before + bisect_left(word.starts, end) for end in ends]


def _ends(parts: Sequence[str]) -> list[int]:
    ends: list[int] = []
    place = 0
    for part in parts:
        place += len(part)
        ends.append(place)
    return ends


_CUT = re.compile(r"(?<=\S) ")
_NO_CUT = re.compile(r"[ \t-\r\x1c-\x1f] ")


def _cut(text: str) -> list[str]:
    """The words of a text, all but the first without the space before them."""
    if not text.isascii():
        return _CUT.split(text)
    # what is printable has no other white space than spaces
    if "  " in text if text.isprintable() else _NO_CUT.search(text):
        return _CUT.split(text)
    words = text.split(" ")
    if words[0] or not words[1:]:
        return words
    return [f" {words[1]}", *words[2:]]


def _letters() -> dict[int, str]:
    """The letters that byte-level tokens are written in, for the bytes that ASCII text has."""
    shown = range(ord("!"), ord("~") + 1)
    hidden = [byte for byte in range(0x80) if byte not in shown]
    return {byte: chr(0x100 + number) for number, byte in enumerate(hidden)}


_LETTERS = _letters()
_SPACE = _LETTERS[ord(" ")]
