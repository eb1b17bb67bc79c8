"""Generation held to a grammar, token by token, with xgrammar (the extra ``grammar``)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

from toolgrove.core.messages import JSON
from toolgrove.encoding.tokenizer import Tokenizer

_WORD_BITS = 32
_FALLBACK_BYTE = {f"<0x{byte:02X}>": bytes([byte]) for byte in range(256)}


class Constrainer:
    """Compiles grammars for one tokenizer; what was compiled is kept.

    ``stops`` are the tokens that end a reply; ``vocab_size`` how many logits the model has, where
    that is more than the tokenizer has tokens; ``threads`` compile. ModuleNotFoundError without
    xgrammar.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        stops: Iterable[str],
        vocab_size: int | None = None,
        threads: int = 2,
    ) -> None:
        self._library: Any = import_module("xgrammar")
        self._control = tokenizer.control_ids
        self._stops = {stop for stop in stops if stop in self._control}
        self.vocab_size = max(tokenizer.vocab_size, vocab_size or 0)
        info = self._library.TokenizerInfo(
            token_bytes(tokenizer),
            vocab_size=self.vocab_size,
            stop_token_ids=sorted(self._control[stop] for stop in self._stops),
        )
        self._compiler: Any = self._library.GrammarCompiler(info, max_threads=threads)

    def matcher(self, grammar: JSON) -> Matcher:
        """A matcher at the beginning of a reply. ``grammar`` is a structural tag."""
        tag = json.dumps(grammar, ensure_ascii=False)
        compiled = self._compiler.compile_structural_tag(tag)
        return Matcher(self._library.GrammarMatcher(compiled), self.vocab_size, self._unsaid(tag))

    def forget(self) -> None:
        """Drop all that was compiled; the tokenizer's tables stay."""
        self._compiler.clear_cache()

    def _unsaid(self, tag: str) -> list[int]:
        """The control tokens that the grammar does not name: a reply holds none of them."""
        return [
            number
            for token, number in self._control.items()
            if token not in self._stops and not any(form in tag for form in _quoted(token))
        ]


class Matcher:
    """One reply as it is made. Law: ``accept`` takes exactly the tokens that ``mask`` allows."""

    def __init__(self, matcher: Any, vocab_size: int, forbidden: Sequence[int]) -> None:
        numpy: Any = import_module("numpy")
        self._matcher = matcher
        words = -(-vocab_size // _WORD_BITS)
        self._mask: Any = numpy.zeros((1, words), dtype=numpy.int32)
        kept = numpy.full(words, 0xFFFFFFFF, dtype=numpy.uint32)
        for number in forbidden:
            kept[number // _WORD_BITS] &= ~numpy.uint32(1 << number % _WORD_BITS)
        self._kept: Any = kept.view(numpy.int32)
        self._forbidden = frozenset(forbidden)

    def mask(self) -> Any:
        """The tokens that may come next as a row of int32 words, bit ``i % 32`` of word ``i // 32``
        for token ``i``: the form that xgrammar's ``apply_token_bitmask_inplace`` takes. It is
        written anew by the next call."""
        self._matcher.fill_next_token_bitmask(self._mask)
        self._mask[0] &= self._kept
        return self._mask

    def bits(self) -> Any:
        """Whether each token may come next, stops included: a row of at least ``vocab_size``
        bools."""
        numpy: Any = import_module("numpy")
        return numpy.unpackbits(self.mask().view(numpy.uint8), bitorder="little").view(bool)

    def allows(self, token: int) -> bool:
        """Whether this token may come next."""
        word = int(self.mask()[0, token // _WORD_BITS])
        return bool(word >> token % _WORD_BITS & 1)

    def allowed(self) -> list[int]:
        """The ids of the tokens that may come next, stops included."""
        numpy: Any = import_module("numpy")
        return [int(number) for number in numpy.flatnonzero(self.bits())]

    def accept(self, token: int) -> bool:
        """Go on behind a token; False (and nothing changes) when it may not come next."""
        return token not in self._forbidden and bool(self._matcher.accept_token(token))

    @property
    def done(self) -> bool:
        """Whether a stop was accepted."""
        return bool(self._matcher.is_terminated())


def token_bytes(tokenizer: Tokenizer) -> list[bytes]:
    """What each token stands for in a text, by its id; empty for ids without a token."""
    table, control = _byte_table(), tokenizer.control_ids
    byte_level = tokenizer.is_byte_level
    found = [b""] * tokenizer.vocab_size
    for token, number in tokenizer.vocabulary().items():
        if number >= len(found) or token in control:
            continue
        if byte_level:
            found[number] = _from_byte_level(token, table)
        else:
            found[number] = _FALLBACK_BYTE.get(token) or token.replace("▁", " ").encode()
    for token, number in control.items():
        if number < len(found):
            found[number] = token.encode()
    return found


def _from_byte_level(token: str, table: Mapping[str, int]) -> bytes:
    try:
        return bytes(table[letter] for letter in token)
    except KeyError:
        return token.encode()


@lru_cache(maxsize=1)
def _byte_table() -> dict[str, int]:
    """The letter that stands for each byte in byte-level vocabularies (GPT-2's table)."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [byte for byte in range(256) if byte not in set(printable)]
    shifted = {chr(256 + place): byte for place, byte in enumerate(others)}
    return {chr(byte): byte for byte in printable} | shifted


def _quoted(token: str) -> list[str]:
    """A token as a tag may name it: as it is, in a JSON string, and in a grammar in one."""
    forms = [token]
    for _ in range(2):
        forms.append(json.dumps(forms[-1], ensure_ascii=False)[1:-1])
    return forms
