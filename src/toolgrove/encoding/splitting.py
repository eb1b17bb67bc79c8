"""Where a tokenizer splits texts: what of a text is tokenized apart from the rest."""

from __future__ import annotations

import re
from typing import Any, cast


def cuts_at_spaces(settings: dict[str, Any]) -> bool:
    """Whether no token of this ``tokenizer.json`` crosses the place before a space that follows a
    character other than white space, and the tokens on both sides depend on their side only.

    So it is where the text is split by regular expressions before the model sees it, and each
    alternative of these takes a space as its first character, or after white space only; and where
    the normalizer is none or NFC, which composes nothing with a space before it. An expression
    that is not known says no.
    """
    listed = cast("list[dict[str, Any]]", settings.get("added_tokens") or [])
    added = [token for token in listed if not token.get("special")]
    strips = ("lstrip", "rstrip", "single_word")
    if any(" " in token["content"] or any(token.get(key) for key in strips) for token in added):
        return False
    return _normalizes_apart(settings.get("normalizer")) and _splits_apart(
        settings.get("pre_tokenizer")
    )


def _steps(part: dict[str, Any], key: str) -> list[dict[str, Any]]:
    found = part[key] if part.get("type") == "Sequence" else [part]
    return cast("list[dict[str, Any]]", found)


def _normalizes_apart(part: dict[str, Any] | None) -> bool:
    return part is None or all(step["type"] == "NFC" for step in _steps(part, "normalizers"))


def _splits_apart(part: dict[str, Any] | None) -> bool:
    splits = False
    for step in _steps(part or {}, "pretokenizers"):
        kind = step.get("type")
        if kind == "ByteLevel" and not step.get("add_prefix_space", True):
            splits = splits or bool(step.get("use_regex", True))
        elif kind == "Split" and step.get("behavior") == "Isolated" and not step.get("invert"):
            found = _alternatives(step["pattern"].get("Regex", "?"))
            if not found <= _SAFE:
                return False
            splits = splits or found >= _SPLIT_SPACES
        elif kind != "Digits":
            return False
    return splits


def _alternatives(regex: str) -> set[str]:
    """The alternatives of a regular expression, those inside groups left together."""
    plain = regex.replace("\r", r"\r").replace("\n", r"\n")
    found: list[str] = [""]
    depth, escaped, in_class = 0, False, False
    for char in plain:
        if char == "|" and not (depth or escaped or in_class):
            found.append("")
            continue
        found[-1] += char
        if not escaped and not in_class:
            depth += (char == "(") - (char == ")")
        if not escaped:
            in_class = char == "[" or (in_class and char != "]")
        escaped = char == "\\" and not escaped
    return set(found)


_SPLIT_SPACES = {r"\s+(?!\S)", r"\s+"}
_SUFFIX = "(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_UPPER, _LOWER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_LEAD = r"[^\r\n\p{L}\p{N}]?"
_SAFE = frozenset(
    {
        *_SPLIT_SPACES,
        r"\s*[\r\n]+",
        _SUFFIX,
        *("'s", "'t", "'re", "'ve", "'m", "'ll", "'d"),
        *(r"\p{N}", r"\p{N}{1,3}", r" ?\p{L}+", r" ?\p{N}+", r" ?[^\s\p{L}\p{N}]+"),
        _LEAD + r"\p{L}+",
        _LEAD + r"[\p{L}\p{M}]+",
        *(f"{_LEAD}{_UPPER}*{_LOWER}+{suffix}" for suffix in ("", _SUFFIX + "?")),
        *(f"{_LEAD}{_UPPER}+{_LOWER}*{suffix}" for suffix in ("", _SUFFIX + "?")),
        r" ?[^\s\p{L}\p{N}]+[\r\n]*",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r" ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+""",
        r"[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+",
        r" ?[\p{P}\p{S}]+[\r\n]*",
    }
)
"""Alternatives of the expressions of GPT-2, cl100k, o200k, Qwen and DeepSeek that take a space as
their first character, or none, or nothing but white space."""

_BLANK = r"\t\n\x0b\x0c\r "
_ASCII = {
    r"\p{Lu}": "A-Z",
    r"\p{Ll}": "a-z",
    r"\p{L}": "A-Za-z",
    r"\p{N}": "0-9",
    **dict.fromkeys((r"\p{Lt}", r"\p{Lm}", r"\p{Lo}", r"\p{M}"), ""),
    r"\s": _BLANK,
}
"""What the classes of these expressions hold of ASCII."""
_TOKEN = re.compile(r"\\p\{\w+\}|\\.|[\[\]]|.", re.DOTALL)
_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"


def ascii_splitter(settings: dict[str, Any]) -> re.Pattern[str] | None:
    """An expression whose matches in ASCII text are what this ``tokenizer.json`` tokenizes apart.

    None where that is not known: where texts are not split by one known expression into bytes, or
    where the tokenizer itself looks for further tokens before it splits. The tokens of a match, as
    ``ByteLevel`` writes them, are as long as the bytes that they stand for.
    """
    model = cast("dict[str, Any]", settings.get("model") or {})
    plain = not settings.get("added_tokens") and _normalizes_apart(settings.get("normalizer"))
    if not plain or model.get("type") != "BPE" or model.get("dropout"):
        return None
    if any(model.get(key) for key in ("continuing_subword_prefix", "end_of_word_suffix")):
        return None
    regex = _only_regex(settings.get("pre_tokenizer") or {})
    if regex is None or not _alternatives(regex) <= _SAFE:
        return None
    found = _in_ascii(regex)
    splitter = None if found is None else re.compile(found)
    return splitter if splitter is not None and _takes_all(splitter) else None


def _takes_all(splitter: re.Pattern[str]) -> bool:
    """Whether the expression takes every ASCII character, whatever stands behind it."""
    return all(
        splitter.match(chr(code) + behind) for code in range(0x80) for behind in ("", " ", "a", "1")
    )


def _only_regex(part: dict[str, Any]) -> str | None:
    """The expression that alone splits texts; None where there is more to it."""
    steps = _steps(part, "pretokenizers")
    last = steps[-1]
    if last.get("type") != "ByteLevel" or last.get("add_prefix_space", True):
        return None
    if len(steps) == 1:
        return _GPT2 if last.get("use_regex", True) else None
    split = steps[0]
    alone = len(steps) == 2 and split.get("type") == "Split" and not last.get("use_regex", True)
    if not alone or split.get("behavior") != "Isolated" or split.get("invert"):
        return None
    return cast("str | None", split["pattern"].get("Regex"))


def _in_ascii(regex: str) -> str | None:
    """The expression with the classes that Unicode gives it cut down to ASCII; None where one of
    them is not known."""
    found: list[str] = []
    inside = False
    for token in _TOKEN.findall(regex):
        if token in "[]":
            inside = token == "["
        elif token == r"\S" and not inside:
            token = f"[^{_BLANK}]"
        elif token in _ASCII:
            token = _ASCII[token] if inside else f"[{_ASCII[token]}]"
        elif token.startswith((r"\p", r"\P", r"\S")) or not token.isascii():
            return None
        found.append(token)
    return "".join(found)
