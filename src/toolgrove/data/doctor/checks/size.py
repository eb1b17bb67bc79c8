"""How large a row is."""

from __future__ import annotations

from collections.abc import Iterator

from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Spot, check, warning

LONG = 1_000_000
"""From how many characters on a row is told to be long."""


@check(
    warning(
        "long-row",
        "a row of more than a million characters",
        "is it one conversation? split it, or leave out what was pasted in",
    )
)
def long_row(row: Examined) -> Iterator[Spot]:
    """Rows whose texts have more than a million characters together."""
    length = sum(len(said.text) for said in row.texts)
    if length > LONG:
        yield Spot(At(), f"{length:,} characters")
