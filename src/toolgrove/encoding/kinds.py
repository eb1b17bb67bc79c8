"""What a trained token is, in the words in which losses are told: call name, argument keys, ..."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolgrove.core.spans import Kind
from toolgrove.encoding.encoded import Encoded
from toolgrove.encoding.tokenizer import Tokenizer

CALL_NAME = "call_name"
ARGUMENT_KEYS = "argument_keys"
ARGUMENT_VALUES = "argument_values"
CALL_MARKS = "call_marks"
THINKING = "thinking"
TEXT = "text"
STOP = "stop"
INPUT = "input"

NAMES = (CALL_NAME, ARGUMENT_KEYS, ARGUMENT_VALUES, CALL_MARKS, THINKING, TEXT, STOP, INPUT)
"""All that a trained token can be. ``CALL_MARKS`` is what frames names, keys and values."""

_NAMED = {
    Kind.CALL_NAME: CALL_NAME,
    Kind.CALL_MARK: CALL_MARKS,
    Kind.THINK_OPEN: THINKING,
    Kind.THINKING: THINKING,
    Kind.THINK_CLOSE: THINKING,
    Kind.TEXT_MARK: TEXT,
    Kind.TEXT: TEXT,
    Kind.SEPARATOR: TEXT,
    Kind.CALL_STOP: STOP,
    Kind.STOP: STOP,
}

_OPENS_KEY = re.compile(r'(?:<[^<>]*|="?[^"<>]*|<[^<>]*key[^<>]*>)\Z')
"""The end of a mark that a key follows: an open tag, an attribute's quote, a tag named for keys."""
_ENDS_TAG = re.compile(r">\s*\Z")
_BRACKET = re.compile(r"[{(]\s*[\"']?\Z")
"""The end of a mark that holds the beginning of what opens the arguments."""
_DELIMITER = re.compile(r"<\W?escape\W?>|<\|\W\|>")
"""Control tokens that stand for a string's quotes (Gemma's notation)."""


class Kinds:
    """Tells kinds of tokens; what single tokens say is kept."""

    def __init__(self, tok: Tokenizer) -> None:
        self._tok = tok
        self._texts: dict[int, str] = {}

    def weights(self, row: Encoded) -> dict[str, list[float]]:
        """The weights of a row's tokens by kind; those of other kinds are 0.

        Law: they add up to the row's weights.
        """
        found: dict[str, list[float]] = {}
        for number, (name, weight) in enumerate(zip(self.names(row), row.weights, strict=True)):
            if weight:
                found.setdefault(name, [0.0] * len(row))[number] = weight
        return found

    def names(self, row: Encoded) -> list[str]:
        """What each token of the row is.

        A token is what its first character is. Keys are the names of arguments, with their quotes
        where these begin a token; what is inside a value is value.
        """
        names = [INPUT] * len(row)
        call = _Arguments()
        for start, end, kind, _ in row.spans:
            if kind is Kind.CALL_ARGS:
                texts = [self._text(token) for token in row.ids[start:end]]
                names[start:end] = call.span(texts)
                continue
            names[start:end] = [_NAMED.get(kind, INPUT)] * (end - start)
            if kind is Kind.CALL_MARK:
                call.mark("".join(self._text(token) for token in row.ids[start:end]))
            else:
                call = _Arguments()
        return names

    def _text(self, token: int) -> str:
        if token not in self._texts:
            self._texts[token] = self._tok.decode([token])
        return self._texts[token]


class _Arguments:
    """The arguments of one call as they come: spans of them with marks between.

    Formats with tags put a key and its value into spans of their own, told apart by the marks
    before them. Others (JSON, Python, Gemma's) are one notation, scanned from bracket to bracket.
    """

    def __init__(self) -> None:
        self._mark = ""
        self._tagged = False
        self._scan: _Scan | None = None

    def mark(self, text: str) -> None:
        """What frames the arguments."""
        self._mark += text

    def span(self, texts: list[str]) -> list[str]:
        """What the tokens of one span of arguments are, given each one's text."""
        mark, self._mark = self._mark, ""
        if self._scan is None:
            if _OPENS_KEY.search(mark):
                self._tagged = True
                return [ARGUMENT_KEYS] * len(texts)
            whole = "".join(texts).lstrip()
            opened = _BRACKET.search(mark)
            if self._tagged or (not (opened or whole.startswith("{")) and _ENDS_TAG.search(mark)):
                self._tagged = True
                return [ARGUMENT_VALUES] * len(texts)
            self._scan = _Scan(inside=not (opened or whole.startswith("{")))
            self._scan.over(opened.group() if opened else "")
        elif _DELIMITER.search(mark):
            self._scan.quote()
        return list(self._named(texts, self._scan))

    def _named(self, texts: list[str], scan: _Scan) -> Iterator[str]:
        for text in texts:
            names = scan.over(text)
            yield names[0] if names else scan.last


class _Scan:
    """Which characters of JSON-like arguments are keys, values, or frame them.

    Outermost braces or parentheses hold the arguments; a colon or an equals sign ends a key, a
    comma a value. Nothing raises: text that is no such notation is told in some way.
    """

    def __init__(self, *, inside: bool) -> None:
        self._depth = int(inside)
        self._at_key = True
        self._quote = ""
        self._escaped = False
        self.last = CALL_MARKS

    def over(self, text: str) -> list[str]:
        """What each character is."""
        return [self._step(character) for character in text]

    def quote(self) -> None:
        """A control token opens or closes a string."""
        self._quote = "" if self._quote else "\0"

    def _step(self, character: str) -> str:
        self.last = self._in_string(character) if self._quote else self._outside(character)
        return self.last

    def _in_string(self, character: str) -> str:
        if self._escaped:
            self._escaped = False
        elif character == "\\" and self._quote != "\0":
            self._escaped = True
        elif character == self._quote:
            self._quote = ""
        return self._what()

    def _outside(self, character: str) -> str:
        if character in "{[(":
            self._depth += 1
            return CALL_MARKS if self._depth == 1 else ARGUMENT_VALUES
        if character in "}])":
            self._depth -= 1
            return CALL_MARKS if self._depth <= 0 else ARGUMENT_VALUES
        if character in "\"'":
            self._quote = character
            return self._what()
        if self._depth > 1:
            return ARGUMENT_VALUES
        if character in ":=,":
            self._at_key = character == ","
            return CALL_MARKS
        return CALL_MARKS if character.isspace() or self._depth <= 0 else self._what()

    def _what(self) -> str:
        return ARGUMENT_KEYS if self._at_key and self._depth <= 1 else ARGUMENT_VALUES
