"""``toolgrove show``: what each token is and how much it counts, in colour."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

from pydantic import Field

from toolgrove.cli.encode import EncodeSettings, encodings
from toolgrove.cli.inputs import text_model
from toolgrove.encoding.encoded import Encoded


class ShowSettings(EncodeSettings):
    """What to show, and where."""

    rows: int = Field(default=1, ge=1)
    """How many rows to show, from the first on."""

    html: Path | None = None
    """Write a page to this file instead of colours to the terminal."""

    as_json: bool = Field(default=False, alias="json")
    """Print the pieces as JSON: text, ids, weight and kind of each."""


def run(settings: ShowSettings) -> int:
    """Shows the sequences of the first rows."""
    from toolgrove.encoding.show import pieces
    from toolgrove.encoding.tokenizer import load_tokenizer

    shown = [
        (f"{where}, sequence {number} of {len(encoded)}" if len(encoded) > 1 else where, sequence)
        for where, encoded in islice(encodings(settings), settings.rows)
        for number, sequence in enumerate(encoded, start=1)
    ]
    tokenizer = load_tokenizer(text_model(str(settings.model)))
    found = [pieces(sequence, tokenizer) for _, sequence in shown]
    if settings.as_json:
        for (title, _), some in zip(shown, found, strict=True):
            parts = [
                {"text": p.text, "ids": p.ids, "weight": p.weight, "kind": p.kind} for p in some
            ]
            print(json.dumps({"where": title, "pieces": parts}, ensure_ascii=False))
    elif settings.html is not None:
        _page(settings.html, shown, found)
    else:
        _terminal(shown, found)
    return 0


def _page(file: Path, shown: list[tuple[str, Encoded]], found: list[list]) -> None:
    from toolgrove.encoding.show import totals
    from toolgrove.encoding.show_html import Shown, page

    blocks = [
        Shown(title, some, totals(sequence))
        for (title, sequence), some in zip(shown, found, strict=True)
    ]
    file.write_text(page(blocks), encoding="utf-8")
    print(file)


def _terminal(shown: list[tuple[str, Encoded]], found: list[list]) -> None:
    from rich.console import Console

    from toolgrove.encoding.show import coloured, legend, totals

    console = Console(soft_wrap=True, highlight=False)
    for (title, sequence), some in zip(shown, found, strict=True):
        console.print(f"[dim]{title.replace('[', chr(92) + '[')}[/dim]")
        console.print(coloured(some))
        console.print(legend(totals(sequence)))
