"""The contract of a data format."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
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
    def fits(self, row: Mapping[str, Any]) -> bool:
        """Whether the row's columns are this format's. Never raises."""

    @abstractmethod
    def convert(self, row: Mapping[str, Any]) -> Conversation:
        """The row as a conversation; a DataError names the path inside the row."""


formats: Registry[type[Format]] = Registry(
    "data format", "toolgrove.data.formats", "toolgrove.data_formats"
)
