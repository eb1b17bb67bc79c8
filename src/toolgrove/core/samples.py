"""What a training method eats: one class per shape of row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from toolgrove.core.messages import Conversation, Message


@dataclass(frozen=True, slots=True)
class Chat:
    """A conversation whose assistant turns are learnt (SFT)."""

    conversation: Conversation
    where: str = ""


@dataclass(frozen=True, slots=True)
class Preference:
    """A shared context with a chosen and a rejected continuation (DPO and its kin)."""

    context: Conversation
    chosen: tuple[Message, ...]
    rejected: tuple[Message, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class Feedback:
    """A conversation with a verdict on its last turn (KTO)."""

    conversation: Conversation
    good: bool
    where: str = ""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A conversation with what is to be predicted of it: the number of its class, a 1 for each of
    its classes among all, or numbers."""

    conversation: Conversation
    label: tuple[float, ...]
    where: str = ""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation that awaits an answer, with the columns that rewards read (GRPO)."""

    conversation: Conversation
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])
    where: str = ""


@dataclass(frozen=True, slots=True)
class Text:
    """Plain text (pre-training), with the other columns of its row."""

    text: str
    where: str = ""
    columns: Mapping[str, Any] = field(default_factory=dict[str, Any])


Sample: TypeAlias = Chat | Preference | Feedback | Prompt | Text
