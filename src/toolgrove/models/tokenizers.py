"""What transformers itself makes of a conversation, by the chat template in a model's folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import JSON, Conversation, Message


def applied(folder: Path, talks: Sequence[Conversation]) -> list[str]:
    """Each conversation as text with the generation prompt; TemplateError when the template
    raises."""
    from jinja2 import TemplateError as JinjaError
    from transformers import AutoTokenizer

    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    texts: list[str] = []
    for talk in talks:
        try:
            texts.append(
                tokenizer.apply_chat_template(
                    [_row(message) for message in talk.messages],
                    tools=[tool.spec for tool in talk.tools] or None,
                    add_generation_prompt=True,
                    tokenize=False,
                )
            )
        except (JinjaError, ValueError, TypeError) as error:
            raise TemplateError(f"the chat template raises: {error}", where=str(folder)) from error
    return texts


def _row(message: Message) -> JSON:
    row: JSON = {"role": str(message.role), "content": message.text}
    if message.name is not None:
        row["name"] = message.name
    if message.call_id is not None:
        row["tool_call_id"] = message.call_id
    if message.calls:
        row["tool_calls"] = [
            {
                "id": call.id,
                "type": "function",
                "function": {"name": call.name, "arguments": call.arguments},
            }
            for call in message.calls
        ]
    return row
