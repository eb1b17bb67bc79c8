"""Weighted spans become tokens, each token the span's in which its first character stands."""

from __future__ import annotations

from collections.abc import Sequence

from toolgrove.core.spans import MARKUP, Kind, Span
from toolgrove.encoding.encoded import NO_MESSAGE, NUMBER_OF, Coded
from toolgrove.encoding.loss import Weighted
from toolgrove.encoding.tokenizer import Tokenizer

_OF_ONE_ROW = frozenset(Kind) - MARKUP - {Kind.SYSTEM, Kind.TOOLS}
"""The kinds of text that hardly two rows share."""


class Writer:
    """Appends the tokens of stretches; ``coded`` is what it has so far."""

    def __init__(self, tok: Tokenizer) -> None:
        self.tok = tok
        self._made = Coded()

    def add(self, stretch: Sequence[Weighted]) -> None:
        """Tokenizes one stretch: the text between control tokens as a whole, those by id."""
        texts: list[str] = []
        owners: list[Weighted] = []
        marks = self.tok.marks
        for item in stretch:
            text, kind = item.span[0], item.span[1]
            position = 0
            for start, end, token in marks(text, kind):
                if start > position:
                    texts.append(text[position:start])
                    owners.append(item)
                if texts:
                    self._add_piece(texts, owners)
                    texts, owners = [], []
                self._made.ids.append(token)
                self._own(len(self._made.ids), item)
                position = end
            if position < len(text):
                texts.append(text[position:] if position else text)
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
                self._give_block(tuple(spans[begin:index]))
                begin = index
        self._give_block(tuple(spans[begin:]))

    def _give_block(self, spans: tuple[Span, ...]) -> None:
        """Writes spans of which the first opens with a control token, as does what follows them."""
        if not _OF_ONE_ROW.isdisjoint([span[1] for span in spans]):
            self.add([Weighted(span, 0.0) for span in spans])
            return
        blocks = self.tok.blocks
        known = blocks.get(spans)
        if known is None:
            writer = Writer(self.tok)
            writer.add([Weighted(span, 0.0) for span in spans])
            known = writer._made
            blocks.keep(spans, known, sum([len(span[0]) for span in spans]))
        self._made.extend(known)

    def _add_piece(self, texts: list[str], owners: list[Weighted]) -> None:
        ids, ends = self.tok.piece(*texts)
        base = len(self._made.ids)
        self._made.ids.extend(ids)
        for owner, end in zip(owners, ends, strict=True):
            self._own(base + end, owner)

    def _own(self, end: int, owner: Weighted) -> None:
        """The tokens that nobody owns yet, up to ``end``, belong to the owner."""
        (_, kind, message, _), weight = owner
        number = NO_MESSAGE if message is None else message
        self._made.own(end, NUMBER_OF[kind], number, weight)

    def coded(self) -> Coded:
        """The sequence; its first token is never trained."""
        return self._made.without_first()
