"""The contract of a data format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, ClassVar

from toolgrove.core.messages import Conversation
from toolgrove.core.registry import Registry


class Format(ABC):
    """One way to lay a conversation out in a row.

    ``rank`` orders the question "is this row yours?": the highest rank is asked first, and the
    first format that fits reads the row. Formats from plug-ins come before the built-in ones.
    """

    rank: ClassVar[int] = 50

    @abstractmethod
    def fits(self, row: Mapping[str, Any]) -> str | bool:
        """Why the row is this format's, in a few words; "" (or False) where it is not.

        Never raises, and is quick: every row is asked.
        """

    @abstractmethod
    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The row as a conversation; a DataError names the path inside the row."""


formats: Registry[type[Format]] = Registry(
    "data format", "toolgrove.data.formats", "toolgrove.data_formats"
)


def ranked_formats() -> tuple[tuple[str, Format], ...]:
    """Every format with its name, in the order in which they are asked."""
    return _ranked(formats.edition())


@lru_cache(maxsize=8)
def _ranked(_edition: tuple[int, int]) -> tuple[tuple[str, Format], ...]:
    made = [(name, formats.get(name)()) for name in formats.names()]
    return tuple(sorted(made, key=lambda pair: -pair[1].rank))
