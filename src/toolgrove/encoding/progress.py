"""A progress line for encoding: rows, tokens and speed, shown where a person watches."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from toolgrove.encoding.shards import Totals

if TYPE_CHECKING:
    from rich.console import Console


@contextmanager
def progress(console: Console) -> Generator[Callable[[Totals], None]]:
    """Shows the totals that it is told, while the block runs; silent where nobody watches."""
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    begun = time.monotonic()
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("encoding", total=None)

        def tell(totals: Totals) -> None:
            speed = totals.rows / max(time.monotonic() - begun, 1e-9)
            bar.update(
                task,
                description=f"encoding: {totals.rows:,} rows, {totals.tokens:,} tokens,"
                f" {speed:,.0f} rows/s",
            )

        yield tell
