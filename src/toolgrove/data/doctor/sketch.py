"""Near-duplicates among many texts, in constant memory for each: MinHash sketches and a table."""

from __future__ import annotations

import re
from array import array
from collections.abc import Iterable, Sequence
from heapq import nsmallest
from itertools import islice, pairwise
from zlib import crc32

BANDS = 12
"""How many keys a text has in the table: texts that share one are compared."""
BAND_BINS = 4
"""How many minima make a key. Two texts that share 80 % of their pairs of words are compared with
a probability of 1 - (1 - 0.8^4)^12 = 99.8 %."""
KEPT = 64
"""How many of the smallest hashes are kept of a text; a text with fewer is compared exactly."""
CANDIDATES = 8
"""With how many earlier texts one is compared at most."""

MOST_WORDS = 20_000

_BINS = BANDS * BAND_BINS
_EMPTY = 0xFFFFFFFF
_WORD = re.compile(r"[぀-ヿ㐀-鿿가-힯]|[^\W_]+")


def shingles(texts: Iterable[str]) -> set[int]:
    """32-bit hashes of the pairs of words that follow each other, without regard to case and
    punctuation; a Chinese, Japanese or Korean character counts as a word. Of long texts the first
    ``MOST_WORDS`` words count."""
    found = (word[0] for text in texts for word in _WORD.finditer(text.casefold()))
    words = list(islice(found, MOST_WORDS))
    if len(words) < 2:
        return {crc32(word.encode()) for word in words}
    return {crc32(f"{one} {two}".encode()) for one, two in pairwise(words)}


class Sketches:
    """Remembers texts and finds earlier ones that are nearly the same.

    About 500 bytes a text: its smallest hashes, and its keys in a table of open addresses.
    """

    def __init__(self, likeness: float) -> None:
        self.likeness = likeness
        self._kept = array("I")
        self._sizes = array("H")
        self._keys = array("I", bytes(4 * (1 << 12)))
        self._owners = array("I", bytes(4 * (1 << 12)))
        self._used = 0

    def __len__(self) -> int:
        return len(self._sizes)

    def add(self, hashes: set[int]) -> None:
        """Remembers a text by the hashes of its shingles; it gets the next number from 0."""
        self._put(hashes, _bands(hashes) if hashes else [])

    def nearest(self, hashes: set[int], *, remember: bool = True) -> tuple[int, float] | None:
        """The number of the earlier text that is most like this one and how much it is (0 to 1),
        where that is at least ``likeness``; ``remember``: it is added, too."""
        bands = _bands(hashes) if hashes else []
        best: tuple[int, float] | None = None
        if hashes:
            smallest = nsmallest(KEPT, hashes)
            for number in self._candidates(bands):
                likeness = self._likeness(smallest, number)
                if likeness >= self.likeness and (best is None or likeness > best[1]):
                    best = (number, likeness)
        if remember:
            self._put(hashes, bands)
        return best

    def _put(self, hashes: set[int], bands: Sequence[int]) -> None:
        smallest = nsmallest(KEPT, hashes)
        self._sizes.append(len(smallest))
        self._kept.extend(smallest)
        self._kept.extend([_EMPTY] * (KEPT - len(smallest)))
        number = len(self._sizes)
        for band in bands:
            self._insert(band, number)

    def _candidates(self, bands: Sequence[int]) -> list[int]:
        mask = len(self._keys) - 1
        found: dict[int, None] = {}
        for band in bands:
            place = (band * 0x9E3779B1) & mask
            while self._owners[place]:
                if self._keys[place] == band:
                    found[self._owners[place] - 1] = None
                place = (place + 1) & mask
        return list(found)[-CANDIDATES * 4 :]

    def _likeness(self, smallest: list[int], number: int) -> float:
        """The share of common shingles (Jaccard), estimated from the smallest of both texts."""
        start = number * KEPT
        other = self._kept[start : start + self._sizes[number]]
        both = set(smallest) & set(other)
        union = sorted({*smallest, *other})[:KEPT]
        return sum(1 for value in union if value in both) / len(union)

    def _insert(self, band: int, number: int) -> None:
        if self._used * 5 > len(self._keys) * 3:
            self._grow()
        mask = len(self._keys) - 1
        place = (band * 0x9E3779B1) & mask
        met = 0
        while self._owners[place]:
            met += self._keys[place] == band
            if met >= CANDIDATES:
                return
            place = (place + 1) & mask
        self._keys[place], self._owners[place] = band, number
        self._used += 1

    def _grow(self) -> None:
        keys, owners = self._keys, self._owners
        self._keys = array("I", bytes(8 * len(keys)))
        self._owners = array("I", bytes(8 * len(keys)))
        mask = len(self._keys) - 1
        for band, owner in zip(keys, owners, strict=True):
            if owner:
                place = (band * 0x9E3779B1) & mask
                while self._owners[place]:
                    place = (place + 1) & mask
                self._keys[place], self._owners[place] = band, owner


def _bands(hashes: set[int]) -> list[int]:
    """The table's keys: the least hash of each of the bins, in groups. An empty bin takes the
    value of the next one that is not (one-permutation hashing, densified by rotation)."""
    bins = [_EMPTY] * _BINS
    for value in hashes:
        place, rest = value % _BINS, value // _BINS
        if rest < bins[place]:
            bins[place] = rest
    if _EMPTY in bins:
        filled = bins[:]
        for place in range(_BINS):
            step = 0
            while filled[place] == _EMPTY:
                step += 1
                other = bins[(place + step) % _BINS]
                if other != _EMPTY:
                    filled[place] = (other + step * 0x85EBCA6B) & 0x7FFFFFFF
        bins = filled
    return [
        crc32(array("I", bins[start : start + BAND_BINS]).tobytes(), start) or 1
        for start in range(0, _BINS, BAND_BINS)
    ]
