"""Media tags without media; where there are media, reading holds the tags against them."""

from __future__ import annotations

from collections.abc import Iterator

from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Spot, check, error, warning
from toolgrove.data.fields import as_list, as_object, describe

_NAMES = ("image", "video", "audio")


@check(
    warning(
        "media-missing",
        "a media tag in a row without such media: it is trained as plain text",
        "list the file, or take the tag out",
    )
)
def media_missing(row: Examined) -> Iterator[Spot]:
    """Tags in a row that lists no file of that kind. <video> and <audio> are HTML's tags, too: they
    count only in rows with media of some kind."""
    declared = any(name in row.row or f"{name}s" in row.row for name in _NAMES)
    for name in _NAMES:
        tags, files = _count(row, name)
        if tags and not files and (declared or name == "image"):
            yield Spot(At(keys=(f"{name}s",)), f"{tags} <{name}> tags and no {name}s")


@check(
    error(
        "bad-media",
        "a medium that is neither a path, an address nor an object",
        "write its path or address",
    )
)
def bad_media(row: Examined) -> Iterator[Spot]:
    """Values in the lists of media that say nothing about where the medium is."""
    conv = row.conversation
    for name, listed in (("image", conv.images), ("video", conv.videos), ("audio", conv.audios)):
        for number, value in enumerate(listed):
            if not isinstance(value, str | dict | list) or not value:
                yield Spot(At(keys=(f"{name}s", number)), f"the {name} is {describe(value)}")


@check(
    error(
        "bad-box",
        "a box that is no list of x and y",
        "write [x1, y1, x2, y2], or [x, y] for a point",
    )
)
def bad_box(row: Examined) -> Iterator[Spot]:
    """Boxes with anything but numbers, or with an odd number of them."""
    objects = as_object(row.conversation.extra.get("objects")) or {}
    for number, box in enumerate(as_list(objects.get("bbox")) or ()):
        values = as_list(box) or []
        numbers = [v for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
        if not values or len(numbers) < len(values) or len(values) % 2:
            yield Spot(At(keys=("objects", "bbox", number)), f"the box is {describe(box)}")


def _count(row: Examined, name: str) -> tuple[int, int]:
    """How many tags the messages have, and how many files the row."""
    conv = row.conversation
    files = {"image": conv.images, "video": conv.videos, "audio": conv.audios}[name]
    tag = f"<{name}>"
    return sum(message.text.count(tag) for message in conv.messages), len(files)
