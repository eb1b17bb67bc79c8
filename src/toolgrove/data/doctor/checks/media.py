"""Media tags held against the lists of images, videos and audios."""

from __future__ import annotations

from collections.abc import Iterator

from toolgrove.data.doctor.examined import Examined
from toolgrove.data.doctor.findings import At, Spot, check, error, warning

_NAMES = ("image", "video", "audio")


@check(
    error(
        "media-tags",
        "more tags than media, or fewer: each <image>, <video> and <audio> stands for one file",
        "write one tag where each file belongs, and list as many files",
    )
)
def media_tags(row: Examined) -> Iterator[Spot]:
    """Rows with media whose tags do not match; files without any tag are told apart."""
    for name in _NAMES:
        tags, files = _count(row, name)
        if tags != files and files and tags:
            yield Spot(At(keys=(f"{name}s",)), f"{tags} <{name}> tags and {files} {name}s")


@check(
    error(
        "media-missing",
        "a media tag in a row without such media",
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
    warning(
        "media-untagged",
        "media without a tag: where they belong is not said",
        "write a tag where each file belongs",
    )
)
def media_untagged(row: Examined) -> Iterator[Spot]:
    """Files of a kind for which no text has a tag."""
    for name in _NAMES:
        tags, files = _count(row, name)
        if files and not tags:
            yield Spot(At(keys=(f"{name}s",)), f"{files} {name}s and no <{name}> tag")


def _count(row: Examined, name: str) -> tuple[int, int]:
    """How many tags the messages have, and how many files the row."""
    conv = row.conversation
    files = {"image": conv.images, "video": conv.videos, "audio": conv.audios}[name]
    tag = f"<{name}>"
    return sum(message.text.count(tag) for message in conv.messages), len(files)
