"""Toolgrove turns open language models into reliable tool-calling agents."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolgrove.core.errors import DataError as DataError
    from toolgrove.core.errors import ToolgroveError as ToolgroveError
    from toolgrove.core.messages import Conversation as Conversation
    from toolgrove.core.messages import Reply as Reply
    from toolgrove.core.messages import ToolCall as ToolCall
    from toolgrove.data.formats import conversation as conversation
    from toolgrove.encoding.encode import encode as encode
    from toolgrove.encoding.encode import prompt_ids as prompt_ids
    from toolgrove.encoding.folder import dialect_for as dialect_for
    from toolgrove.encoding.tokenizer import load_tokenizer as load_tokenizer
    from toolgrove.templates.dialect import agent_templates as agent_templates
    from toolgrove.templates.dialect import chat_templates as chat_templates
    from toolgrove.templates.dialect import dialect as dialect

__version__ = "0.1.0"

_HOMES = {
    "DataError": "toolgrove.core.errors",
    "ToolgroveError": "toolgrove.core.errors",
    "Conversation": "toolgrove.core.messages",
    "Reply": "toolgrove.core.messages",
    "ToolCall": "toolgrove.core.messages",
    "conversation": "toolgrove.data.formats",
    "encode": "toolgrove.encoding.encode",
    "prompt_ids": "toolgrove.encoding.encode",
    "load_tokenizer": "toolgrove.encoding.tokenizer",
    "dialect_for": "toolgrove.encoding.folder",
    "agent_templates": "toolgrove.templates.dialect",
    "chat_templates": "toolgrove.templates.dialect",
    "dialect": "toolgrove.templates.dialect",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'toolgrove' has no attribute {name!r}")
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(["__version__", *_HOMES])
