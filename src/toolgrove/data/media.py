"""Media tags in a conversation's text, held against the lists of media."""

from __future__ import annotations

from toolgrove.core.messages import Conversation
from toolgrove.data.fields import as_list, as_object, bad

_TAGS = {"images": "<image>", "videos": "<video>", "audios": "<audio>"}
_OBJECT_TAGS = {"ref": "<ref-object>", "bbox": "<bbox>"}


def check_media(conv: Conversation) -> None:
    """DataError where the number of tags is not the number of media.

    A tag stands where its medium is shown, so they come in pairs. Tags in a row without a list
    are plain text: people write about HTML, too.
    """
    lists = {"images": conv.images, "videos": conv.videos, "audios": conv.audios}
    for name, listed in lists.items():
        if listed:
            _check(conv, name, _TAGS[name], len(listed))
    objects = as_object(conv.extra.get("objects"))
    if objects is not None:
        for name, tag in _OBJECT_TAGS.items():
            listed = as_list(objects.get(name))
            if listed:
                _check(conv, f"objects.{name}", tag, len(listed))


def _check(conv: Conversation, name: str, tag: str, listed: int) -> None:
    tags = sum(message.text.count(tag) for message in conv.messages)
    if tags != listed:
        raise bad(
            name,
            f"{listed} in the list, but {tags} {tag} in the messages",
            f"write {tag} where each of them is shown",
        )
