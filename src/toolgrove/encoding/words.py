"""Words that are tokenized once: where a text can be cut without changing a token."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from tokenizers import Tokenizer as Backend

from toolgrove.encoding.splitting import ascii_splitter, cuts_at_spaces

_REMEMBERED = 8_000_000
"""How many characters each memory of texts keeps before it starts anew (some 100 MB for words)."""
_PER_TEXT = 20
"""What a text that is kept counts beside its characters."""
_WORTH_KEEPING = 100
"""Characters of a part from which on its tokens are kept: shorter ones are as fast to make."""


Ids: TypeAlias = tuple[int, ...]


class Word(NamedTuple):
    """The tokens of a stretch of text, and the character that each begins at."""

    ids: Ids
    starts: Ids


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
    inside: array[int] | None
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
        self._held = 0

    def tokens(self, parts: Sequence[str]) -> Piece:
        """The tokens of a text that is given in parts."""
        piece = Piece(array("i"), [])
        if not self._cuts:
            _end_word(piece, self._tokenized("".join(parts)), _ends(parts))
            return piece
        word, ends = "", list[int]()
        for text in parts:
            if text[:1] == " " and word and not word[-1].isspace():
                _end_word(piece, self._word(word), ends)
                word, ends = "", []
            head, inside, tail = self._part(text)
            word += head
            if inside is not None:
                _end_word(piece, self._word(word), ends)
                piece.ids.extend(inside)
                word, ends = tail, []
            ends.append(len(word))
        _end_word(piece, self._word(word), ends)
        return piece

    def learn(self, texts: Iterable[str]) -> None:
        """Remembers the words of texts that will be asked for, tokenized together: faster."""
        if not self._cuts or self._splits is not None:
            return
        spaced: set[str] = set()
        for text in set(texts):
            spaced.update(_cut(text)[1:-1])
        self._spaced.learn(spaced)

    def _part(self, text: str) -> _Part:
        known = self._parts.get(text)
        if known is not None:
            return known
        words = _cut(text)
        if not words[1:]:
            return _Part(text, None, "")
        inside = words[1:-1]
        if self._splits is None or not text.isascii():
            self._spaced.learn(set(inside))
        ids = array("i", [*chain.from_iterable(map(self._spaced.__getitem__, inside))])
        part = _Part(words[0], ids, f" {words[-1]}")
        if len(text) >= _WORTH_KEEPING:
            self._make_room(text)
            self._parts[text] = part
        return part

    def _word(self, text: str) -> Word:
        known = self._words.get(text)
        if known is None:
            self._make_room(text)
            known = self._words[text] = self._tokenized(text)
        return known

    def _tokenized(self, text: str) -> Word:
        found = self._splits.word(text) if self._splits is not None and text.isascii() else None
        return _encoded(self._backend, text) if found is None else found

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
        ids = self._splits.ids(f" {word}") if self._splits is not None and word.isascii() else None
        if ids is None:
            ids = _encoded(self._backend, f" {word}").ids
        self._keep(word, ids)
        return ids

    def learn(self, words: set[str]) -> None:
        """Remembers those of the words that are new, tokenized together.

        A word that ends in white space stands alone: behind it there is no cut.
        """
        joined = [word for word in words if word and word not in self and not word[-1].isspace()]
        if not joined:
            return
        encoding = self._backend.encode(
            "".join([f" {word}" for word in joined]), add_special_tokens=False
        )
        ids = encoding.ids
        starts = [start for start, _ in encoding.offsets]
        first = end = 0
        for word in joined:
            end += len(word) + 1
            last = bisect_left(starts, end, first)
            self._keep(word, tuple(ids[first:last]))
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
        self._split = splitter.findall
        self._starts: dict[str, Ids] = {}
        self._held = 0

    def __missing__(self, split: str) -> Ids:
        if self._held > _REMEMBERED:
            self.clear()
            self._held = 0
        self._held += len(split) + _PER_TEXT
        letters = split.replace(" ", _SPACE) if split.isprintable() else split.translate(_LETTERS)
        ids: list[int] = []
        starts: list[int] = []
        place = 0
        for token in self._model.tokenize(letters):
            ids.append(token.id)
            starts.append(place)
            place += len(token.value)
        word = Word(tuple(ids), tuple(starts))
        if place != len(split):
            word = _encoded(self._backend, split)
        self[split] = word.ids
        self._starts[split] = word.starts
        return word.ids

    def ids(self, text: str) -> Ids | None:
        """The tokens of an ASCII text; None where the splits are not all of it."""
        splits = self._split(text)
        if "".join(splits) != text:
            return None
        if len(splits) == 1:
            return self[text]
        return tuple(chain.from_iterable(map(self.__getitem__, splits)))

    def word(self, text: str) -> Word | None:
        """The tokens of an ASCII text with their places; None where the splits are not all."""
        splits = self._split(text)
        if "".join(splits) != text:
            return None
        ids: list[int] = []
        starts: list[int] = []
        place = 0
        for split in splits:
            ids += self[split]
            own = self._starts[split]
            if own[1:]:
                starts += [place + start for start in own]
            else:
                starts.append(place)
            place += len(split)
        return Word(tuple(ids), tuple(starts))

    def clear(self) -> None:
        """Forgets all splits."""
        super().clear()
        self._starts.clear()


def _encoded(backend: Backend, text: str) -> Word:
    encoding = backend.encode(text, add_special_tokens=False)
    return Word(tuple(encoding.ids), tuple([start for start, _ in encoding.offsets]))


def _end_word(piece: Piece, word: Word, ends: Iterable[int]) -> None:
    """Appends a word in which parts end at these places."""
    count = len(piece.ids)
    piece.ends.extend([count + bisect_left(word.starts, end) for end in ends])
    piece.ids.extend(word.ids)


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
    if not text.isascii() or _NO_CUT.search(text):
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
