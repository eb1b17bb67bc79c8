"""The text of a growing reply: decoded token by token, ended by stop texts."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from toolgrove.engine.base import Finish

_UNFINISHED = "�"
_LONGEST_CHARACTER = 8


class ReplyText:
    """Decodes tokens as they come and watches for stop texts.

    Law: the texts that ``push`` and ``finish`` return, joined, are the decoded reply up to its
    first stop; nothing is returned that could still turn out to belong to a stop.
    """

    def __init__(self, decode: Callable[[list[int]], str], stops: Sequence[str] = ()) -> None:
        self._decode = decode
        self._stops = tuple(stop for stop in stops if stop)
        self._ids: list[int] = []
        self._settled = 0  # tokens before here are only context for the decoder
        self._read = 0  # tokens before here have been turned into text
        self._held = ""
        self.stopped = False

    def push(self, token: int) -> str:
        """Takes one more token; returns the text that is certain now."""
        self._ids.append(token)
        return self._release(self._decoded(final=False))

    def take(self, token: int, *, stop: bool, last: bool) -> tuple[str, Finish | None]:
        """The text that is certain behind one more token, and why the reply ends with it, if it
        does. ``stop``: the token is a stop and no text; ``last``: there is no room for another."""
        text = "" if stop else self.push(token)
        ended = stop or self.stopped
        if not ended and not last:
            return text, None
        return text + self.finish(), Finish.STOP if ended else Finish.LENGTH

    def finish(self) -> str:
        """The text still held back, when no more tokens will come."""
        out = self._release(self._decoded(final=True))
        rest, self._held = self._held, ""
        return out + rest

    def _decoded(self, *, final: bool) -> str:
        before = self._decode(self._ids[self._settled : self._read])
        after = self._decode(self._ids[self._settled :])
        waiting = len(self._ids) - self._read
        if after.endswith(_UNFINISHED) and not final and waiting < _LONGEST_CHARACTER:
            return ""
        self._settled, self._read = self._read, len(self._ids)
        return after[len(before) :]

    def _release(self, new: str) -> str:
        if self.stopped:
            return ""
        self._held += new
        ends = [at for at in (self._held.find(stop) for stop in self._stops) if at >= 0]
        if ends:
            self.stopped = True
            out, self._held = self._held[: min(ends)], ""
            return out
        safe = len(self._held) - self._doubtful()
        out, self._held = self._held[:safe], self._held[safe:]
        return out

    def _doubtful(self) -> int:
        """How many characters at the end could be the beginning of a stop."""
        for size in range(min(len(self._held), max(map(len, self._stops), default=1) - 1), 0, -1):
            tail = self._held[-size:]
            if any(stop.startswith(tail) for stop in self._stops):
                return size
        return 0
