"""Weighted spans become tokens, each token the span's in which its first character stands."""

from __future__ import annotations

from toolgrove.core.spans import Kind
from toolgrove.encoding.encoded import Encoded, TokenSpan
from toolgrove.encoding.loss import Weighted
from toolgrove.encoding.tokenizer import Tokenizer


class _Open:
    """A piece of text that is not tokenized yet: its parts, where each begins, whose it is."""

    __slots__ = ("length", "owners", "starts", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.starts: list[int] = []
        self.owners: list[Weighted] = []
        self.length = 0

    def add(self, text: str, owner: Weighted) -> None:
        """Appends a part, unless it is empty."""
        if text:
            self.texts.append(text)
            self.starts.append(self.length)
            self.owners.append(owner)
            self.length += len(text)


class Writer:
    """Appends the tokens of stretches; ``encoded`` is what it has so far."""

    def __init__(self, tok: Tokenizer) -> None:
        self.tok = tok
        self.ids: list[int] = []
        self.weights: list[float] = []
        self.spans: list[TokenSpan] = []
        self._end = 0
        self._kind: Kind | None = None
        self._message: int | None = None

    def add(self, stretch: list[Weighted]) -> None:
        """Tokenizes one stretch: the text between control tokens as a whole, those by id."""
        piece = _Open()
        for item in stretch:
            text, kind = item.span.text, item.span.kind
            position = 0
            for start, end, token in self.tok.marks(text, kind):
                piece.add(text[position:start], item)
                piece = self._closed(piece)
                self.ids.append(token)
                self._own(len(self.ids), item)
                position = end
            piece.add(text[position:] if position else text, item)
        self._closed(piece)

    def _closed(self, piece: _Open) -> _Open:
        """Tokenizes the piece that is open, if it has any text; a new one."""
        if not piece.texts:
            return piece
        self._add_piece("".join(piece.texts), piece.starts, piece.owners)
        return _Open()

    def _add_piece(self, text: str, starts: list[int], owners: list[Weighted]) -> None:
        piece = self.tok.piece(text)
        base = len(self.ids)
        self.ids.extend(piece.ids)
        if owners[1:]:
            for owner, count in zip(owners, piece.counts(starts[1:]), strict=False):
                self._own(base + count, owner)
        self._own(len(self.ids), owners[-1])

    def _own(self, end: int, owner: Weighted) -> None:
        """The tokens that nobody owns yet, up to ``end``, belong to the owner."""
        span, weight = owner
        start, kind, message = self._end, span.kind, span.message
        if end == start:
            return
        self.weights.extend([weight] * (end - start))
        if kind is self._kind and message == self._message:
            start = self.spans.pop().start
        self.spans.append(TokenSpan(start, end, kind, message))
        self._end, self._kind, self._message = end, kind, message

    def encoded(self) -> Encoded:
        """The sequence; its first token is never trained."""
        if self.weights:
            self.weights[0] = 0.0
        return Encoded(self.ids, self.weights, self.spans)
