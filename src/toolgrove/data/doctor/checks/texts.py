"""What stands in texts and should not: secrets, control strings, broken characters, markup."""

from __future__ import annotations

import re
from collections.abc import Iterator

from toolgrove.core.messages import Role
from toolgrove.data.doctor.examined import Examined, Said, after_thinking
from toolgrove.data.doctor.findings import At, Repair, Spot, check, error, warning
from toolgrove.data.fields import as_list, as_object, dump, parse_json, show

SECRETS = {
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_[A-Za-z0-9_]{40,})\b",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}\b",
    "an Anthropic key": r"\bsk-ant-[A-Za-z0-9_-]{20,}",
    "an OpenAI key": r"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{0,80}[A-Za-z0-9]{20}",
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}\b",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "a Stripe key": r"\b[sr]k_live_[0-9A-Za-z]{20,}\b",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "a JSON Web Token": r"\beyJ[\w-]{10,500}\.eyJ[\w-]{10,2000}\.[\w-]{10}",
    "a private key": r"-----BEGIN (?:[A-Z]{1,12} ){0,3}PRIVATE KEY-----",
    "a password in an address": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@]{1,64}:"
    r"(?!(?i:pass(?:word|wd)?|pwd|secret|token|x+|\*+|\.+)@)[^\s/:@<>{}\[\]$]{3,64}@[\w.-]+",
}
"""Shapes of secrets: makers' own prefixes, so that ordinary words are none. Every repetition has
a bound, so that no text takes long."""

_HINTS = re.compile(
    r"AKIA|ASIA|gh[pousr]_|github_pat_|glpat-|sk-|hf_|xox|AIza|k_live_|npm_|eyJ|PRIVATE KEY"
    r"|://[^/\s]{1,140}@"
)
_SECRETS = [(name, re.compile(pattern)) for name, pattern in SECRETS.items()]
_CONTROL_STRINGS = re.compile(
    r"<\|[A-Za-z_][\w. ]{0,40}\|>|<｜[^｜<>]{1,40}｜>|<(?:start|end)_of_turn>|</?s>(?!\w)"
    r"|\[/?INST\]|<</?SYS>>|<(?:bos|eos|pad|unk)>|\[(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS)\]"
    r"|\{\{(?:SYSTEM|QUERY|RESPONSE)\}\}|✿(?:FUNCTION|ARGS|RESULT|RETURN)✿"
)
_CONTROL_CHARACTERS = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f\ufeff\u202a-\u202e\u2066-\u2069]"
)
_SAFELY_REMOVED = re.compile("[\x00-\x08\x0e-\x1f\x7f\ufeff]")
_TAIL = "[\x80-\xbf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]"
"""Second and later bytes of UTF-8 characters as Latin-1 and Windows-1252 show them."""
_BROKEN = re.compile(
    "\ufffd|Ã[\x80-\xbf©¨¤¶¼Ÿ±]|â€[\x99\x9c\x9d™œ“”¦˜]|ï»¿|锟斤拷|Â[£°©®±²³·»«¿½¼¾§]"
    f"|(?:[à-ï]{_TAIL}{{2}}){{2}}|(?:[ÐÑ]{_TAIL}){{3}}|ð[\x9fŸ]{_TAIL}{{2}}"
)
_ESCAPED = re.compile(r"\\n(?![a-z])|\\u[0-9a-fA-F]{4}")
_NULLS = frozenset({"None", "nan", "NaN", "null", "undefined", "<NA>", "[object Object]"})
_FENCE = re.compile(r"```(?:json)?\s*\n(.*)\n```", re.DOTALL)
_CALL_MARKUP = re.compile(
    r"<tool_call>|<function=|<\|tool_call\|>|<｜tool▁call|\[TOOL_CALLS\]|<function_?calls?>"
    r"|^[ \t]*Action:.*\n\s{0,9}Action Input:|✿FUNCTION✿|<\|python_tag\|>|<｜DSML",
    re.MULTILINE,
)
_THINK = re.compile(r"<(/?)(think|thinking|thought)>")


@check(
    error(
        "secret",
        "a key or token in the data: whoever gets the model may get it out again",
        "revoke it, and put a made-up one in its place",
    )
)
def secret(row: Examined) -> Iterator[Spot]:
    """Texts with the shape of a secret; only its first characters are told."""
    for said in (*row.texts, *row.described):
        if _HINTS.search(said.text) is None:
            continue
        for name, pattern in _SECRETS:
            match = pattern.search(said.text)
            if match is not None and len(set(match.group())) > 8:
                yield Spot(said.at, f"{name}: {match.group()[:6]}…")
                break


@check(
    warning(
        "control-string",
        "a template's own marks in the data, often left over from another model's template. They "
        "are trained as plain text, never as control tokens",
        "take them out, unless they are what the text is about",
    )
)
def control_string(row: Examined) -> Iterator[Spot]:
    """Texts with marks such as <|im_end|>."""
    for said in row.texts:
        match = _CONTROL_STRINGS.search(said.text)
        if match is not None:
            yield Spot(said.at, f"{show(match.group())} in {_whose(said)}")


@check(
    warning(
        "control-character",
        "invisible control characters in a text",
        "take them out",
    )
)
def control_character(row: Examined) -> Iterator[Spot]:
    """Texts with control characters other than line ends and tabs, or marks of direction."""
    for said in row.texts:
        match = _CONTROL_CHARACTERS.search(said.text)
        if match is None:
            continue
        cleaned = _SAFELY_REMOVED.sub("", said.text)
        repair = Repair(said.at, said.text, cleaned) if cleaned != said.text else None
        yield Spot(said.at, f"U+{ord(match.group()):04X} in {_whose(said)}", "", repair)


@check(
    warning(
        "broken-text",
        "characters that a wrong encoding broke",
        "read the source again in its own encoding",
    )
)
def broken_text(row: Examined) -> Iterator[Spot]:
    """Texts with the replacement character, or with UTF-8 that was read as Latin-1 or GBK."""
    for said in row.texts:
        match = None if said.text.isascii() else _BROKEN.search(said.text)
        if match is not None:
            near = said.text[max(0, match.start() - 10) : match.end() + 10]
            yield Spot(said.at, f"{match.group()!a} in {_whose(said)}: {show(near)}")


@check(
    warning(
        "call-in-text",
        "a call written as text: it is trained as text, in one model's notation only",
        "make it a call: tool_calls, or a message with the role tool_call",
    )
)
def call_in_text(row: Examined) -> Iterator[Spot]:
    """Assistant texts and thinking with the markup of a call, and answers that are one in JSON."""
    for index, message in enumerate(row.messages):
        if message.role is not Role.ASSISTANT:
            continue
        for part, text in (("content", message.text), ("thinking", message.thinking or "")):
            match = _CALL_MARKUP.search(text)
            if match is not None:
                what = f"{show(match.group().strip())} in the assistant's {_PART[part]}"
                yield Spot(At(index, None, (part,)), what)
        name = _call_as_json(message.text, row)
        if name:
            what = f'the answer is a call of "{name}" as JSON'
            yield Spot(At(index, None, ("content",)), what)


_PART = {"content": "text", "thinking": "thinking"}


def _call_as_json(text: str, row: Examined) -> str:
    """The tool on offer that a text calls which is nothing but JSON, fenced or not; "" if none."""
    text = after_thinking(text).strip()
    fenced = _FENCE.fullmatch(text)
    text = fenced[1].strip() if fenced else text
    if not row.tools or text[:1] not in ("{", "["):
        return ""
    try:
        value = parse_json(text)
    except ValueError:
        return ""
    items = as_list(value)
    first = as_object(value if items is None else items[0] if items else None) or {}
    name = first.get("name")
    called = isinstance(name, str) and name in row.tools
    return str(name) if called and ("arguments" in first or "parameters" in first) else ""


@check(
    warning(
        "null-text",
        "a text that is nothing but the word for no value, as exports from tables leave it",
        "write the text, or leave the turn out",
    )
)
def null_text(row: Examined) -> Iterator[Spot]:
    """Turns that say None, nan, null or the like, results apart."""
    for said in row.texts:
        plain = said.at.call is None and said.role is not Role.TOOL
        if plain and said.text.strip() in _NULLS:
            yield Spot(said.at, f"{_whose(said)} is {dump(said.text.strip())}")


@check(
    warning(
        "escaped-text",
        "a text with the escapes of JSON in it: it was written as JSON once too often",
        "decode the text once more",
    )
)
def escaped_text(row: Examined) -> Iterator[Spot]:
    r"""Answers in one line with \n or \uXXXX spelled out; quotes and backticks tell of code. What
    users paste is theirs."""
    for said in row.texts:
        if said.role is not Role.ASSISTANT or said.at.call is not None:
            continue
        if len(_ESCAPED.findall(said.text)) >= 2 and not any(c in said.text for c in '\n"`'):
            yield Spot(said.at, f"{show(said.text)} in {_whose(said)}")


@check(
    warning(
        "thinking-tags",
        "think tags inside thinking that is given as such: they are written a second time",
        "take the tags out",
    )
)
def thinking_tags(row: Examined) -> Iterator[Spot]:
    """Thinking with the tags that templates put around it."""
    for index, message in enumerate(row.messages):
        match = _THINK.search(message.thinking or "")
        if match is not None:
            yield Spot(At(index, None, ("thinking",)), f"{match.group()} in the thinking")


@check(
    error(
        "unbalanced-thinking",
        "a thinking block that is opened and not closed, or closed and not opened",
        "close the block, or give the thinking as reasoning_content",
    )
)
def unbalanced_thinking(row: Examined) -> Iterator[Spot]:
    """Assistant texts whose think tags do not pair up."""
    for index, message in enumerate(row.messages):
        if message.role is not Role.ASSISTANT or "<" not in message.text:
            continue
        open_tags: list[str] = []
        odd = ""
        for slash, name in _THINK.findall(message.text):
            if not slash:
                open_tags.append(name)
            elif not open_tags or open_tags.pop() != name:
                odd = f"</{name}> closes nothing"
                break
        if open_tags and not odd:
            odd = f"<{open_tags[-1]}> is not closed"
        if odd:
            yield Spot(At(index, None, ("content",)), odd)


def _whose(said: Said) -> str:
    if said.at.call is not None:
        return "a call's arguments"
    return f"the {said.role}'s text"
