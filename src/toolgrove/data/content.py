"""The content of one message: text, or a list of typed parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolgrove.core.messages import JSON, Message, Role, ToolCall
from toolgrove.data.calls import read_call
from toolgrove.data.fields import as_list, as_object, bad, describe, dump, show

_TEXT_PARTS = frozenset({"text", "input_text", "output_text"})
_MEDIA_PARTS = {
    "image": "image",
    "image_url": "image",
    "input_image": "image",
    "video": "video",
    "video_url": "video",
    "audio": "audio",
    "audio_url": "audio",
    "input_audio": "audio",
}
_OTHER_PARTS = frozenset({"tool_use", "tool_result", "thinking"})
_KNOWN_PARTS = _TEXT_PARTS | _MEDIA_PARTS.keys() | _OTHER_PARTS


@dataclass(frozen=True, slots=True)
class Media:
    """The media that were found in the parts of a conversation, in their order."""

    image: list[Any] = field(default_factory=list[Any])
    video: list[Any] = field(default_factory=list[Any])
    audio: list[Any] = field(default_factory=list[Any])

    def of(self, name: str) -> list[Any]:
        """The list of one kind of media."""
        if name == "image":
            return self.image
        return self.video if name == "video" else self.audio


@dataclass(slots=True)
class Parts:
    """What the parts of one message hold. ``texts`` is empty where there was no text at all."""

    texts: list[str] = field(default_factory=list[str])
    thinking: list[str] = field(default_factory=list[str])
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    results: list[Message] = field(default_factory=list[Message])


def is_parts(value: Any) -> bool:
    """Whether a value is a list of typed parts (not just any JSON list)."""
    items = as_list(value)
    return bool(items) and all(_is_part(item) for item in items or ())


def read_parts(value: Any, path: str, media: Media) -> Parts:
    """The parts of a content list; media parts leave a tag in the text and go to ``media``."""
    parts = Parts()
    for index, item in enumerate(as_list(value) or ()):
        at = f"{path}[{index}]"
        part = as_object(item)
        if part is None:
            if not isinstance(item, str):
                raise bad(at, f"a part that is {describe(item)}", _hint())
            parts.texts.append(item)
            continue
        _read_part(part, at, parts, media)
    return parts


def result_text(value: Any, path: str, media: Media) -> str:
    """The text of a tool result: text as it is, parts joined, any other value as JSON."""
    if value is None:
        raise bad(path, "a tool result without content", 'write "" for an empty result')
    if isinstance(value, str):
        return value
    if is_parts(value):
        return "".join(read_parts(value, path, media).texts)
    return dump(value)


def _is_part(item: Any) -> bool:
    part = as_object(item)
    return part is not None and part.get("type") in _KNOWN_PARTS


def _read_part(part: JSON, path: str, parts: Parts, media: Media) -> None:
    shape = part.get("type")
    if shape in _TEXT_PARTS:
        text = part.get("text")
        if not isinstance(text, str):
            raise bad(f"{path}.text", f"expected text, found {describe(text)}")
        parts.texts.append(text)
    elif shape in _MEDIA_PARTS:
        name = _MEDIA_PARTS[shape]
        parts.texts.append(f"<{name}>")
        value = _medium(part, shape, name)
        if value is not None:
            media.of(name).append(value)
    elif shape == "tool_use":
        call = {"id": part.get("id"), "name": part.get("name"), "arguments": part.get("input")}
        parts.calls.append(read_call(call, path))
    elif shape == "tool_result":
        content = result_text(part.get("content", ""), f"{path}.content", media)
        answered = part.get("tool_use_id")
        call_id = answered if isinstance(answered, str) else None
        parts.results.append(Message(Role.TOOL, content, call_id=call_id))
    elif shape == "thinking":
        parts.thinking.append(str(part.get("thinking") or ""))
    else:
        raise bad(path, f"an unknown type of part: {show(shape)}", _hint())


def _medium(part: JSON, shape: str, name: str) -> Any:
    """The path, address or object of a media part; None where a column of the row holds it."""
    for key in (shape, name, "source", "url", "path"):
        value = part.get(key)
        if value is not None:
            inner = as_object(value)
            return inner["url"] if inner is not None and set(inner) <= {"url", "detail"} else value
    return None


def _hint() -> str:
    return 'a part is {"type": "text", "text": "..."}, or an image, video, audio, tool_use …'
