"""Showing tokens: nothing is lost, everything is safe to print."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgrove.core.spans import Kind
from toolgrove.encoding.encoded import Encoded, TokenSpan
from toolgrove.encoding.show import COLOURS, coloured, legend, pieces, rows_of, totals, visible
from toolgrove.encoding.show_diff import parts
from toolgrove.encoding.show_html import Shown, ShownRow, page


class Bytes:
    """A tokenizer of single bytes."""

    def decode(self, ids: list[int]) -> str:
        return bytes(ids).decode("utf-8", errors="replace")


def encoded_of(text: str, weight: float = 1.0) -> Encoded:
    ids = list(text.encode())
    half = len(text[: len(text) // 2].encode())
    spans = [TokenSpan(0, half, Kind.USER, 0), TokenSpan(half, len(ids), Kind.CALL_ARGS, 1)]
    return Encoded(ids, [0.0] * half + [weight] * (len(ids) - half), spans)


def test_every_kind_has_a_colour() -> None:
    assert set(COLOURS) == set(Kind)


@given(st.text(max_size=30))
def test_pieces_join_to_the_text(text: str) -> None:
    encoded = encoded_of(text)
    found = pieces(encoded, Bytes())
    assert "".join(piece.text for piece in found) == Bytes().decode(encoded.ids)
    assert [number for piece in found for number in piece.ids] == encoded.ids


def test_a_broken_character_at_the_end_is_still_shown() -> None:
    ids = list("é".encode())[:1]
    found = pieces(Encoded(ids, [1.0], [TokenSpan(0, 1, Kind.TEXT, 0)]), Bytes())
    assert [piece.text for piece in found] == ["\ufffd"]


def test_totals_count_by_kind() -> None:
    counted = totals([encoded_of("abcd", 2.0), encoded_of("ab")])
    assert [(t.kind, t.tokens, t.trained, t.weight) for t in counted] == [
        (Kind.USER, 3, 0, 0.0),
        (Kind.CALL_ARGS, 3, 3, 5.0),
    ]


def test_odd_weights_are_told() -> None:
    found = pieces(encoded_of("abcd", 2.0), Bytes())
    assert coloured(found).plain == "abcd×2"
    assert "×" not in coloured(pieces(encoded_of("abcd"), Bytes())).plain


@pytest.mark.parametrize("text", ["<script>alert(1)</script>", '"><b>', "[red]x[/red]", "\x1b[2J"])
def test_data_is_shown_and_not_obeyed(text: str) -> None:
    encoded = encoded_of(text)
    found = pieces(encoded, Bytes())
    finding = {"code": text, "path": text, "message": text, "fix": text, "severity": text}
    row = ShownRow(text, [Shown(found, totals(encoded))], [finding], problem=text)
    html = page([row], title=text)
    assert html.count("<script") == 2
    assert "<b>" not in html
    assert "\x1b" not in coloured(found).plain
    assert coloured(found).plain == visible(text)


def test_shares_of_the_loss() -> None:
    counted = totals([encoded_of("abcd", 2.0), encoded_of("ab")])
    assert [cells[-1] for cells in rows_of(counted)] == ["0.0 %", "100.0 %", ""]
    assert [cells[-1] for cells in rows_of(totals(encoded_of("abcd", 0.0)))] == ["", "", ""]


def test_the_legend_has_a_row_for_each_kind_and_the_sum() -> None:
    assert legend(totals(encoded_of("abcd"))).row_count == 3


@given(st.text(max_size=40), st.text(max_size=40))
def test_the_parts_of_a_diff_join_to_both_texts(old: str, new: str) -> None:
    told = list(parts(old, new))
    assert "".join(part.text for part in told if part.side in " -") == old
    assert "".join(part.text for part in told if part.side in " +") == new
