"""Puts cases to a model and judges what it replies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolgrove.eval.cases import Case, Checker, Result, judge

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.engine.base import Engine
    from toolgrove.templates.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Subject:
    """What is measured: an engine, the dialect it is spoken to in, its tokenizer."""

    engine: Engine
    dialect: Dialect
    tok: Tokenizer
    strict: bool = False
    """Whether calls are held to their tools' schemas while they are generated."""


def ask(
    subject: Subject, checker: Checker, cases: Sequence[Case], max_new_tokens: int
) -> Iterator[Result]:
    """Puts the cases to the model, decoding greedily, and judges the replies in their order."""
    from toolgrove.encoding.encode import prompt_ids
    from toolgrove.engine.base import Finish, Sampling, generate

    dialect = subject.dialect
    prompts = [prompt_ids(case.conversation, dialect, subject.tok) for case in cases]
    sampling = Sampling(max_new_tokens=max_new_tokens, stop=dialect.stops)
    grammars = [dialect.grammar(case.conversation.tools) for case in cases if subject.strict]
    replies = generate(subject.engine, prompts, sampling, grammars)
    for case, ids, said in zip(cases, prompts, replies, strict=True):
        prompt = subject.tok.decode(ids)
        reply = dialect.read(said.text, tools=case.conversation.tools, prompt=prompt)
        ended = said.finish is Finish.STOP
        formatted, function, verdict = judge(case, reply, ended=ended, checker=checker)
        yield Result(case, prompt, said.text, reply, formatted, function, verdict)


def dialect_name(spoken: Dialect) -> str:
    """The dialect in words: its templates and its fingerprint."""
    return f"{spoken.chat_name} + {spoken.agent_name or 'native'} ({spoken.fingerprint()})"
