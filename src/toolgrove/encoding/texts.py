"""Plain texts as training sequences: one behind the other and cut into blocks, or each alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, cast

from toolgrove.core.errors import TokenizerError
from toolgrove.core.samples import Text
from toolgrove.core.spans import Kind
from toolgrove.encoding.encoded import Encoded, TokenSpan
from toolgrove.encoding.tokenizer import Tokenizer


@dataclass(frozen=True, slots=True)
class Frame:
    """The ids before and after every text."""

    before: tuple[int, ...]
    after: tuple[int, ...]


def frame_of(tok: Tokenizer, end: str | None = None) -> Frame:
    """What the tokenizer itself puts before a text, and the token that ends one.

    ``end`` names that token; None is the tokenizer's own end token. TokenizerError for one that
    the vocabulary does not have, and where there is none.
    """
    given: Any = tok.config.get("eos_token")
    own: Any = cast(dict[str, Any], given).get("content") if isinstance(given, dict) else given
    name = end or own
    if not name:
        raise TokenizerError(
            "the tokenizer names no end token",
            where=str(tok.folder),
            hint="name one with --document_end",
        )
    number = tok.token_id(str(name))
    if number is None:
        raise TokenizerError(
            f'the vocabulary has no token "{name}"',
            where=str(tok.folder),
            hint=f"its control tokens: {', '.join(sorted(tok.control_ids))}",
        )
    ends = {number, tok.token_id(str(own)) if own else None}
    return Frame(tuple(token for token in tok.framing() if token not in ends), (number,))


def documents(texts: Iterable[Text], tok: Tokenizer, frame: Frame) -> Iterator[Encoded]:
    """Each text as one sequence, however long. Law: data forges no control token; every token but
    the first weighs 1."""
    for number, text in enumerate(texts):
        inside = tok.piece(text.text).ids
        ids = [*frame.before, *inside, *frame.after]
        first, last = len(frame.before), len(frame.before) + len(inside)
        spans = [
            TokenSpan(0, first, Kind.SCAFFOLD, None),
            TokenSpan(first, last, Kind.TEXT, number),
            TokenSpan(last, len(ids), Kind.STOP, number),
        ]
        held = [span for span in spans if span.end > span.start]
        yield Encoded(ids, [0.0] + [1.0] * (len(ids) - 1), held, text.where)


def blocks(each: Iterable[Encoded], length: int) -> Iterator[Encoded]:
    """All documents one behind the other, cut every ``length`` tokens; the last block is what is
    left.

    Law: the blocks' ids joined are the documents' ids joined, but for a last token alone, from
    which nothing could be learnt. The first token of a block weighs 0,
    all others 1: a document's tokens see those of the documents before it in their block, over the
    end tokens between, as is usual in pre-training.
    """
    ids: list[int] = []
    spans: list[TokenSpan] = []
    places: list[str] = []
    for document in each:
        start = 0
        while start < len(document):
            taken = min(length - len(ids), len(document) - start)
            spans += _part(document.spans, start, start + taken, len(ids) - start)
            ids += document.ids[start : start + taken]
            places.append(document.where)
            start += taken
            if len(ids) == length:
                yield _block(ids, spans, places)
                ids, spans, places = [], [], []
    if len(ids) > 1:
        yield _block(ids, spans, places)


def cut(each: Iterable[Encoded], length: int) -> Iterator[Encoded]:
    """Each document in blocks of its own; law: as for ``blocks``, but no block holds two."""
    for document in each:
        yield from blocks([document], length)


def _part(spans: Iterable[TokenSpan], start: int, end: int, moved: int) -> list[TokenSpan]:
    """The spans of tokens ``start`` to ``end``, moved to where these come to lie."""
    return [
        TokenSpan(max(s.start, start) + moved, min(s.end, end) + moved, s.kind, s.message)
        for s in spans
        if s.start < end and s.end > start
    ]


def _block(ids: list[int], spans: list[TokenSpan], places: list[str]) -> Encoded:
    named = list(dict.fromkeys(place for place in places if place))
    where = named[0] if len(named) == 1 else f"{named[0]} to {named[-1]}" if named else ""
    return Encoded(ids, [0.0] + [1.0] * (len(ids) - 1), spans, where)
