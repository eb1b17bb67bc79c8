"""Weighted spans become tokens, each token the span's in which its first character stands."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import repeat

from toolgrove.core.spans import MARKUP, Kind, Span
from toolgrove.encoding.encoded import Coded, Owner
from toolgrove.encoding.tokenizer import Block, Tokenizer

_OF_ONE_ROW = frozenset(Kind) - MARKUP - {Kind.SYSTEM, Kind.TOOLS}
"""The kinds of text that hardly two rows share."""


class Writer:
    """Appends the tokens of stretches; ``coded`` is what it has so far."""

    def __init__(self, tok: Tokenizer) -> None:
        self.tok = tok
        self._ids = array("i")
        self._ends: list[int] = []
        self._owners: list[Owner] = []

    def add(self, stretch: Iterable[Owner]) -> None:
        """Tokenizes one stretch: the text between control tokens as a whole, those by id."""
        texts: list[str] = []
        owners: list[Owner] = []
        markup, soft_kinds = self.tok.markup, self.tok.soft_kinds
        for item in stretch:
            text, kind = item[0][0], item[0][1]
            found = None
            if kind in MARKUP:
                found = markup[text]
            elif kind in soft_kinds:
                found = self.tok.parted(text)
            if found is None:
                if text:
                    texts.append(text)
                    owners.append(item)
                continue
            head, ids, tail = found
            if head:
                texts.append(head)
                owners.append(item)
            if texts:
                self._add_piece(texts, owners)
                texts, owners = [], []
            self._ids.frombytes(ids)
            self._ends.append(len(self._ids))
            self._owners.append(item)
            if tail:
                texts.append(tail)
                owners.append(item)
        if texts:
            self._add_piece(texts, owners)

    def give(self, spans: Sequence[Span]) -> None:
        """Tokenizes one stretch that is not trained.

        What many rows share of it, such as a system prompt with its tools, is written once and
        copied: it stands between two control tokens, and its tokens depend on nothing else.
        """
        opens = self.tok.opens
        begin = 0
        for index, span in enumerate(spans):
            if index and span[1] in MARKUP and opens[span[0]]:
                self._give_block(spans[begin:index])
                begin = index
        self._give_block(spans[begin:])

    def _give_block(self, spans: Sequence[Span]) -> None:
        """Writes spans of which the first opens with a control token, as does what follows them."""
        if not _OF_ONE_ROW.isdisjoint([span[1] for span in spans]):
            self.add(zip(spans, repeat(0.0)))
            return
        blocks = self.tok.blocks
        key = tuple(spans)
        known = blocks.get(key)
        if known is None:
            writer = Writer(self.tok)
            writer.add(zip(spans, repeat(0.0)))
            known = Block(writer._ids.tobytes(), writer._ends, writer._owners)
            blocks.keep(key, known, sum([len(span[0]) for span in spans]))
        base = len(self._ids)
        self._ids.frombytes(known.ids)
        self._ends += [base + end for end in known.ends] if base else known.ends
        self._owners += known.owners

    def _add_piece(self, texts: list[str], owners: list[Owner]) -> None:
        self._ends += self.tok.add_piece(self._ids, texts)
        self._owners += owners

    def coded(self) -> Coded:
        """The sequence; its first token is never trained."""
        return Coded.of(self._ids, self._ends, self._owners).without_first()
