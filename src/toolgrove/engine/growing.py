"""A reply whose tokens come from elsewhere, as the pieces of a live engine."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolgrove.engine.base import Finish
from toolgrove.engine.live import Job, Piece, Scored
from toolgrove.engine.text import ReplyText

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer


class Growing:
    """Ends a reply at the job's stops and its limit, wherever the other engine would.

    ``ended`` says that nothing may be taken any more. ``stop_ids`` are the stops that are control
    tokens, ``stop_texts`` the others.
    """

    def __init__(self, number: int, job: Job, tok: Tokenizer) -> None:
        known = tok.control_ids
        self.number, self.job, self.ended = number, job, False
        self.stop_ids = frozenset(known[stop] for stop in job.sampling.stop if stop in known)
        self.stop_texts = tuple(stop for stop in job.sampling.stop if stop not in known)
        self._controls = frozenset(known.values())
        self._text = ReplyText(tok.decode, self.stop_texts)
        self._room = job.sampling.max_new_tokens

    def take(
        self, tokens: Sequence[int], finish: Finish | None, scores: Sequence[Scored] = ()
    ) -> Piece:
        """The piece of further tokens; ``finish``: why the other engine ended the reply with them.

        A control token that the other engine stopped at is no text.
        """
        said, taken = "", 0
        reason: Finish | None = None
        for token in tokens:
            taken += 1
            self._room -= 1
            theirs = finish is Finish.STOP and taken == len(tokens) and token in self._controls
            stop = token in self.stop_ids or theirs
            text, reason = self._text.take(token, stop=stop, last=self._room <= 0)
            said += text
            if reason is not None:
                break
        if reason is None and finish is not None:
            said += self._text.finish()
            reason = finish
        self.ended = reason is not None
        return Piece(self.number, tuple(tokens[:taken]), said, reason, tuple(scores[:taken]))
