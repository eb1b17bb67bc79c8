"""The columns beside the messages, put together with them to a conversation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from toolgrove.core.messages import Conversation, Message, Role, Tool
from toolgrove.data.content import is_parts, read_parts
from toolgrove.data.fields import as_list, bad, pick, text
from toolgrove.data.media import check_media
from toolgrove.data.talk import Talk
from toolgrove.data.tools import read_tools

_SYSTEM = ("system", "system_prompt")
_TOOLS = ("tools", "functions")
_MEDIA = {"image": ("images", "image"), "video": ("videos", "video"), "audio": ("audios", "audio")}


def assemble(row: Mapping[str, Any], talk: Talk, used: Iterable[str]) -> Conversation:
    """The conversation of a row whose messages were read from the columns ``used``.

    ``system`` becomes the first message, ``tools`` and the media columns are read, and every
    other column is kept in ``extra``. Media tags are held against their lists.
    """
    done = {*used, "tools"}
    messages = _with_system(row, talk, done)
    media = {name: _media(row, name, talk, done) for name in _MEDIA}
    conv = Conversation(
        messages=tuple(messages),
        tools=_tools(row, done),
        images=media["image"],
        videos=media["video"],
        audios=media["audio"],
        extra={name: value for name, value in row.items() if name not in done},
    )
    check_media(conv)
    return conv


def _tools(row: Mapping[str, Any], done: set[str]) -> tuple[Tool, ...]:
    """The tools of the column ``tools``, or of OpenAI's older ``functions``."""
    column = pick(row, _TOOLS)
    if column is None:
        return ()
    done.add(column.name)
    return read_tools(column.value, column.name)


def _with_system(row: Mapping[str, Any], talk: Talk, done: set[str]) -> list[Message]:
    messages = talk.messages
    column = pick(row, _SYSTEM)
    if column is None:
        done.update(_SYSTEM)
        return messages
    done.add(column.name)
    if is_parts(column.value):
        system = "".join(read_parts(column.value, column.name, talk.media).texts)
    else:
        system = text(column.value, column.name)
    if messages and messages[0].role is Role.SYSTEM:
        if messages[0].content != system:
            raise bad(
                column.name,
                "the row has another system message among its messages",
                "keep one of the two",
            )
        return messages
    return [Message(Role.SYSTEM, system), *messages]


def _media(row: Mapping[str, Any], name: str, talk: Talk, done: set[str]) -> tuple[Any, ...]:
    """The media of one kind: from the row's column or from the parts of its messages."""
    in_parts, columns = talk.media.of(name), _MEDIA[name]
    column = None if row.keys().isdisjoint(columns) else pick(row, columns)
    if column is None:
        done.update(columns)
        return tuple(in_parts)
    done.add(column.name)
    listed = as_list(column.value)
    values = [column.value] if listed is None else listed
    if in_parts and values and in_parts != values:
        raise bad(
            column.name,
            f"{name}s both in the column and in the messages' parts",
            "keep them in one of the two places",
        )
    return tuple(values or in_parts)
