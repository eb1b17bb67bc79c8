"""ReAct transcripts: Thought, Action, Action Input and Observation lines as messages."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from toolgrove.core.messages import Message, Role, ToolCall
from toolgrove.data.fields import as_object, bad, parse_json, parse_loose, past_blanks, show

THOUGHT, ACTION, INPUT = "Thought:", "Action:", "Action Input:"
OBSERVATION, FINAL = "Observation:", "Final Answer:"
ANSWER = "Answer:"
_ACTION = re.compile(f"({ACTION})")
_ANSWER = re.compile(r"\s*Answer:")
_RESULT = re.compile(r"[ \t]*<result>(.*?)</result>[ \t]*", re.DOTALL)
_DECODER = json.JSONDecoder(strict=False)
_HINT = "a step is Thought, Action, Action Input (a JSON object), then Observation"


class Words(NamedTuple):
    """A kind of transcript: ``final`` opens the answer to the user.

    ``tagged``: results stand in <result> tags, there are no thoughts, and ``final`` stands behind
    the results, in front of whatever the assistant says next, further calls included.
    """

    final: str
    tagged: bool


REACT = Words(FINAL, tagged=False)
AGENTFABRIC = Words(ANSWER, tagged=True)


class _Piece(NamedTuple):
    label: str
    body: str


@dataclass(slots=True)
class _Turn:
    """The assistant's message that is being read."""

    content: str | None = None
    thinking: str | None = None
    calls: list[ToolCall] = field(default_factory=list[ToolCall])
    name: str | None = None

    def is_empty(self) -> bool:
        return self.content is None and self.thinking is None and not self.calls

    def message(self) -> Message:
        return Message(
            Role.ASSISTANT, self.content or "", thinking=self.thinking, calls=tuple(self.calls)
        )


def read_transcript(text: str, words: Words, path: str) -> list[Message]:
    """What one reply says, step by step: the assistant's messages and the results among them.

    A thought becomes the message's thinking, the text behind ``Final Answer:`` its content; white
    space beside a label is layout. DataError where the lines are no steps: an action without an
    input that is a JSON object, an observation without an action, an observation whose end
    nothing tells.
    """
    messages: list[Message] = []
    turn = _Turn()
    pieces = _pieces(text, words, path)
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        if turn.name is not None and piece.label != INPUT:
            raise bad(path, f"the action {turn.name} has no Action Input", _HINT)
        if piece.label != OBSERVATION:
            _add_piece(turn, piece, last, path)
            continue
        if not turn.is_empty():
            messages.append(turn.message())
            turn = _Turn()
        if not last or piece.body.strip():
            _add_result(messages, piece, last, words, path)
    if turn.name is not None:
        raise bad(path, f"the action {turn.name} has no Action Input", _HINT)
    if not turn.is_empty() or not messages:
        messages.append(turn.message())
    return messages


def _pieces(text: str, words: Words, path: str) -> list[_Piece]:
    """The text cut at its labels; the final answer and an action's JSON hold no further label."""
    labels = (
        (ACTION, INPUT, OBSERVATION)
        if words.tagged
        else (THOUGHT, ACTION, INPUT, OBSERVATION, FINAL)
    )
    pattern = re.compile(r"^[ \t]*(" + "|".join(map(re.escape, labels)) + ")", re.MULTILINE)
    pieces: list[_Piece] = []
    label, start = "", 0
    while True:
        if label == OBSERVATION and words.tagged and past_blanks(text, start) < len(text):
            result = _RESULT.match(text, start)
            if result is None:
                raise bad(path, f"an observation without <result> tags: {show(text[start:])}")
            pieces.append(_Piece(label, result.group(1)))
            start = result.end()
            answer = _ANSWER.match(text, start)
            label, start = (ANSWER, answer.end()) if answer else ("", start)
        begin = _input_end(text, start) if label == INPUT else start
        found = None if label == FINAL else pattern.search(text, begin)
        if label == ANSWER and text.startswith(ACTION, start):
            found = _ACTION.match(text, start)
        end = found.start() if found else len(text)
        body = text[start:end]
        if label or body.strip() or (found is None and not pieces):
            pieces.append(_Piece(label, body))
        if found is None:
            return pieces
        label, start = found.group(1), found.end()


def _input_end(text: str, start: int) -> int:
    """Where the JSON object behind ``Action Input:`` ends; ``start`` where there is none."""
    brace = past_blanks(text, start)
    if text[brace : brace + 1] != "{":
        return start
    try:
        return _DECODER.raw_decode(text, brace)[1]
    except (ValueError, RecursionError):
        return start


def _add_piece(turn: _Turn, piece: _Piece, last: bool, path: str) -> None:
    """What one labelled part says; ``last``: nothing follows it."""
    label, body = piece
    if label == INPUT:
        if turn.name is None:
            raise bad(path, "an Action Input without an Action", _HINT)
        turn.calls.append(_call(turn.name, body, path))
        turn.name = None
    elif label == ACTION:
        turn.name = body.strip()
        if not turn.name or "\n" in turn.name:
            raise bad(path, f"an action without a name on its line: {show(body)}", _HINT)
    elif turn.calls:
        raise bad(path, f'"{label or show(body)}" behind a call without a result', _HINT)
    elif label == THOUGHT:
        thought = body.removeprefix(" ") if last else _trimmed(body)
        turn.thinking = (
            thought if turn.thinking is None else f"{turn.thinking}\n{THOUGHT} {thought}"
        )
    else:
        said = body if last else body.removesuffix("\n")
        said = said.removeprefix(" ") if label else said
        turn.content = said if turn.content is None else f"{turn.content}\n{label} {said}"


def _call(name: str, body: str, path: str) -> ToolCall:
    source = body.strip()
    at = f"{path}, Action: {name}"
    if source.startswith("```") and source.endswith("```"):
        source = source.removeprefix("```json").strip("`").strip()
    try:
        arguments = as_object(parse_loose(source))
    except ValueError as error:
        raise bad(
            at, f"an Action Input that is not JSON ({error}): {show(source)}", _HINT
        ) from None
    if arguments is None:
        raise bad(at, f"an Action Input that is no JSON object: {show(source)}", _HINT)
    return ToolCall(name, arguments, given=source if _is_json(source) else None)


def _add_result(
    messages: list[Message], piece: _Piece, last: bool, words: Words, path: str
) -> None:
    before = messages[-1] if messages else None
    if before is None or not (before.calls or before.role is Role.TOOL):
        raise bad(path, "an Observation without an Action", _HINT)
    if words.tagged:
        messages.append(Message(Role.TOOL, piece.body))
        return
    if last and "\n" in piece.body.strip() and not _is_value(piece.body):
        raise bad(
            path,
            "nothing tells where the last observation ends",
            f'the answer behind an observation begins with "{THOUGHT}" or "{words.final}"',
        )
    messages.append(Message(Role.TOOL, _trimmed(piece.body)))


def _is_value(text: str) -> bool:
    try:
        parse_loose(text)
    except ValueError:
        return False
    return True


def _is_json(text: str) -> bool:
    try:
        parse_json(text)
    except ValueError:
        return False
    return True


def _trimmed(body: str) -> str:
    """The body without the blank behind its label and the line end in front of the next one."""
    return body.removeprefix(" ").removesuffix("\n")


def open_calls(messages: Sequence[Message]) -> int:
    """How many calls of the last turn have no result yet."""
    asked = next((i for i, m in enumerate(reversed(messages)) if m.role is not Role.TOOL), None)
    if asked is None:
        return 0
    return max(len(messages[-1 - asked].calls) - asked, 0)
