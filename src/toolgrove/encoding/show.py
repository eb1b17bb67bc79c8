"""Tokens and weights made visible in a terminal: a colour per kind, bold where it is learnt."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

from toolgrove.core.spans import Kind
from toolgrove.encoding.encoded import Encoded

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text


class Decoder(Protocol):
    """What showing needs of a tokenizer."""

    def decode(self, ids: list[int]) -> str:
        """The text of the ids, control tokens kept."""
        ...


@dataclass(frozen=True, slots=True)
class Piece:
    """What one token adds to the text; ids are several where only together they make text.

    ``rule`` says what gave the token its weight, ``position`` where it stands in the sequence.
    """

    text: str
    ids: tuple[int, ...]
    weight: float
    kind: Kind
    rule: str = ""
    position: int = 0


class Total(NamedTuple):
    """How many tokens of a kind there are, and how many of them are learnt."""

    kind: Kind
    tokens: int
    trained: int
    weight: float


COLOURS: dict[Kind, tuple[str, str]] = {
    Kind.SCAFFOLD: ("bright_black", "#8a8f98"),
    Kind.SYSTEM: ("blue", "#3b6fd4"),
    Kind.TOOLS: ("cyan", "#0f8f9c"),
    Kind.USER: ("white", "#5c6470"),
    Kind.RESULT: ("yellow", "#a87400"),
    Kind.THINK_OPEN: ("magenta", "#9a5bc4"),
    Kind.THINKING: ("magenta", "#9a5bc4"),
    Kind.THINK_CLOSE: ("magenta", "#9a5bc4"),
    Kind.TEXT_MARK: ("green", "#2c8a4b"),
    Kind.TEXT: ("green", "#2c8a4b"),
    Kind.SEPARATOR: ("green", "#2c8a4b"),
    Kind.CALL_MARK: ("bright_red", "#d0604d"),
    Kind.CALL_NAME: ("red", "#c0322b"),
    Kind.CALL_ARGS: ("bright_yellow", "#c2560c"),
    Kind.CALL_STOP: ("bright_magenta", "#b03a8c"),
    Kind.STOP: ("bright_magenta", "#b03a8c"),
}
"""The colour of each kind: in a terminal, and on a page."""

COLUMNS = ("kind", "tokens", "learnt", "weight", "share of the loss")

WINDOW = 8
"""How many tokens back the text of a token may depend on."""


def pieces(encoded: Encoded, tokenizer: Decoder, rules: Sequence[str] = ()) -> list[Piece]:
    """The pieces in order. Law: their texts joined are the decoded ids.

    ``rules`` holds the rule of each token, where it is known.
    """
    kinds = _kinds(encoded)
    found: list[Piece] = []
    start = 0
    for end in range(1, len(encoded) + 1):
        text = _added(encoded.ids, start, end, tokenizer)
        unfinished = text.endswith("\ufffd") and end < len(encoded) and end - start < WINDOW
        if unfinished:
            continue
        ids = tuple(encoded.ids[start:end])
        rule = rules[start] if rules else ""
        found.append(Piece(text, ids, encoded.weights[start], kinds[start], rule, start))
        start = end
    return found


def totals(encoded: Encoded | Iterable[Encoded]) -> list[Total]:
    """Tokens, learnt tokens and weight by kind, in the order of the kinds."""
    sequences = [encoded] if isinstance(encoded, Encoded) else list(encoded)
    tokens, trained, weight = (dict.fromkeys(Kind, 0.0) for _ in range(3))
    for sequence in sequences:
        for kind, weighs in zip(_kinds(sequence), sequence.weights, strict=True):
            tokens[kind] += 1
            trained[kind] += weighs > 0
            weight[kind] += weighs
    return [
        Total(kind, int(tokens[kind]), int(trained[kind]), weight[kind])
        for kind in Kind
        if tokens[kind]
    ]


def by_rule(shown: Iterable[Piece]) -> list[tuple[str, int, float]]:
    """Each rule with how many tokens it rules and how much these weigh, in order of appearance."""
    found: dict[str, tuple[int, float]] = {}
    for piece in shown:
        count, weight = found.get(piece.rule, (0, 0.0))
        found[piece.rule] = (count + len(piece.ids), weight + piece.weight * len(piece.ids))
    return [(rule, count, weight) for rule, (count, weight) in found.items()]


def token_table(shown: Iterable[Piece]) -> RenderableType:
    """A table with a row for each token: place, id, text, kind, weight and rule."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("place", "id", "text", "kind", "weight", "rule"):
        right = column in ("place", "id", "weight")
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "rule")
    for piece in shown:
        ids = " ".join(map(str, piece.ids))
        text = visible(piece.text).replace("\n", "").replace("\t", "")
        cells = (str(piece.position), ids, text, piece.kind.value, f"{piece.weight:g}", piece.rule)
        bold = "bold " if piece.weight > 0 else "dim "
        table.add_row(*map(Text, cells), style=bold + COLOURS[piece.kind][0])
    return table


def coloured(shown: Iterable[Piece]) -> Text:
    """The pieces as text for a terminal: learnt ones bold, the others dim, odd weights told."""
    from rich.text import Text

    text = Text()
    shown = list(shown)
    for index, piece in enumerate(shown):
        colour = COLOURS[piece.kind][0]
        style = f"bold {colour} underline" if piece.weight > 0 else f"dim {colour}"
        text.append(visible(piece.text), style=style)
        last = index + 1 == len(shown) or shown[index + 1].weight != piece.weight
        if last and piece.weight not in (0.0, 1.0):
            text.append(f"×{piece.weight:g}", style="reverse")
    return text


def legend(counted: Sequence[Total]) -> RenderableType:
    """A table of the kinds in their colours, with how much of each is learnt."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "kind" else "right")
    for total, cells in zip(counted, rows_of(counted), strict=False):
        table.add_row(*cells, style=COLOURS[total.kind][0])
    table.add_row(*rows_of(counted)[-1], style="bold")
    return table


def rows_of(counted: Sequence[Total]) -> list[tuple[str, ...]]:
    """The cells of each kind's row under ``COLUMNS``, then those of the sum."""
    weight = sum(total.weight for total in counted)
    rows = [
        (
            total.kind.value,
            str(total.tokens),
            str(total.trained),
            f"{total.weight:g}",
            f"{100 * total.weight / weight:.1f} %" if weight else "",
        )
        for total in counted
    ]
    tokens, trained = (sum(t.tokens for t in counted), sum(t.trained for t in counted))
    return [*rows, ("all", str(tokens), str(trained), f"{weight:g}", "")]


def visible(text: str) -> str:
    """The text with line ends marked and control characters shown instead of obeyed."""
    shown = text.replace("\n", "↵\n").replace("\t", "→\t")
    return "".join(_symbol(char) for char in shown)


def _symbol(char: str) -> str:
    if char in "\n\t" or char >= " ":
        return "␡" if char == "\x7f" else char
    return chr(0x2400 + ord(char))


def _kinds(encoded: Encoded) -> list[Kind]:
    kinds = [Kind.SCAFFOLD] * len(encoded)
    for span in encoded.spans:
        kinds[span.start : span.end] = [span.kind] * (span.end - span.start)
    return kinds


def _added(ids: list[int], start: int, end: int, tokenizer: Decoder) -> str:
    """The text that the tokens from start to end add to what stands before them."""
    before = tokenizer.decode(ids[max(0, start - WINDOW) : start])
    whole = tokenizer.decode(ids[max(0, start - WINDOW) : end])
    if whole.startswith(before):
        return whole[len(before) :]
    return tokenizer.decode(ids[start:end])
