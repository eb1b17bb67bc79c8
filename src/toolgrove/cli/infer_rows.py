"""A model's replies to a data set, with how they compare to the answers that the rows have."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from toolgrove.agent.events import Calling, Ended, Said
from toolgrove.agent.load import sources
from toolgrove.agent.model import EngineModel
from toolgrove.agent.permission import Permission
from toolgrove.agent.session import Session
from toolgrove.agent.tools import Toolbox
from toolgrove.cli.infer import limits_of
from toolgrove.cli.infer_shown import Shown
from toolgrove.cli.inputs import at, conversations_of
from toolgrove.cli.parse import message_of
from toolgrove.core.errors import DataError
from toolgrove.core.messages import JSON, Conversation, Message, Reply, Role
from toolgrove.engine.base import Finish

if TYPE_CHECKING:
    from toolgrove.agent.model import Model
    from toolgrove.cli.infer import InferSettings

_NO_IDENTITY = {"result_path", "max_batch_size", "as_json", "dataset", "external_plugins"}


class Asked(NamedTuple):
    """A row to be answered: what is asked, the row's own answer, and what identifies it."""

    where: str
    conversation: Conversation
    gold: Message | None
    key: str


class Answered(NamedTuple):
    """A row's answer: the message as JSON, and for an agent all that it did."""

    asked: Asked
    said: Said
    transcript: JSON | None = None


def answer_rows(settings: InferSettings, load: Callable[[], Model]) -> int:
    """Answers the last question of each row, and tells how the answers compare to the rows' own.

    With ``--result_path`` rows that the file has already, asked in the same way, are left out.
    """
    rows = list(_asked(settings))
    kept = _kept(settings.result_path)
    missing = [row for row in rows if row.key not in kept]
    if kept and len(missing) < len(rows):
        print(f"{len(rows) - len(missing)} of {len(rows)} rows are answered", file=sys.stderr)
    try:
        with _opened(settings.result_path) as file:
            for answered in _answers(settings, load, missing):
                line = _line(answered)
                if file is not None:
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")
                    file.flush()
                else:
                    _print(settings, answered, line)
                kept[answered.asked.key] = line
    finally:
        _tell([kept[row.key] for row in rows if row.key in kept], len(rows))
    return 0


def _asked(settings: InferSettings) -> Iterator[Asked]:
    """The rows without the answers to their last questions."""
    identity = settings.model_dump(mode="json", exclude=_NO_IDENTITY)
    for where, talk in conversations_of(settings.dataset):
        messages = list(talk.messages)
        last = max((i for i, m in enumerate(messages) if m.role is Role.USER), default=None)
        end = len(messages)
        while end and messages[end - 1].role is Role.ASSISTANT:
            end -= 1
        if settings.tools and last is not None:
            end = last + 1  # an agent takes all steps itself
        if not end:
            raise DataError("nothing is asked in this row", where=where)
        gold = messages[end] if end < len(messages) else None
        asked = replace(talk, messages=tuple(messages[:end]))
        told = json.dumps([where, identity, repr(asked)], sort_keys=True, default=str)
        yield Asked(where, asked, gold, hashlib.sha256(told.encode()).hexdigest()[:16])


def _answers(
    settings: InferSettings, load: Callable[[], Model], rows: Sequence[Asked]
) -> Iterator[Answered]:
    if not rows:
        return
    model = load()
    if settings.tools:
        yield from _by_agent(settings, model, rows)
    elif isinstance(model, EngineModel):
        remaining = iter(rows)
        while batch := list(islice(remaining, settings.max_batch_size)):
            yield from _batch(model, batch)
    else:
        for row in rows:
            with at(row.where):
                *_, said = model.stream(row.conversation)
            if isinstance(said, Said):
                yield Answered(row, said)


def _by_agent(settings: InferSettings, model: Model, rows: Sequence[Asked]) -> Iterator[Answered]:
    """Each row worked on by an agent with the tools, until it answers or has to end."""
    limits = limits_of(settings)
    with Toolbox() as toolbox:
        for given in settings.tools:
            for source in sources(given if isinstance(given, str) else [given]):
                toolbox.add(source)
        for row in rows:
            session = Session(model, toolbox, Permission(settings.allow), limits, row.conversation)
            said = Said(Reply(None, ""))
            with at(row.where):
                for event in session.go():
                    said = event if isinstance(event, Said) else said
            over = session.works[-1].over
            if over is not None and over.ended is Ended.INTERRUPTED:
                raise KeyboardInterrupt
            yield Answered(row, said, session.transcript())


def _batch(model: EngineModel, rows: Sequence[Asked]) -> Iterator[Answered]:
    """The replies to several rows, generated together."""
    from toolgrove.encoding.encode import prompt_ids, refuse_losses
    from toolgrove.engine.base import generate

    dialect, prompts, grammars = model.dialect, [], []
    for row in rows:
        refuse_losses(row.conversation, dialect, row.where)
        with at(row.where):
            prompts.append(prompt_ids(row.conversation, dialect, model.tokenizer))
            if model.strict:
                grammars.append(dialect.grammar(row.conversation.tools))
    stops = tuple(dict.fromkeys((*dialect.stops, *model.sampling.stop)))
    sampling = replace(model.sampling, stop=stops)
    for row, ids, made in zip(
        rows, prompts, generate(model.engine, prompts, sampling, grammars), strict=True
    ):
        prompt = dialect.prompt(row.conversation)
        reply = dialect.read(made.text, row.conversation.tools, prompt)
        yield Answered(row, Said(reply, made.finish, len(ids), len(made.ids), made.text))


def _line(answered: Answered) -> JSON:
    row, said = answered.asked, answered.said
    line: JSON = {
        "where": row.where,
        "key": row.key,
        "message": message_of(said.reply),
        "finish": str(said.finish),
        "tokens": said.tokens,
        "well_formed": said.reply.complete and said.finish is Finish.STOP,
    }
    if row.gold is not None and answered.transcript is None:
        line["gold"] = {"content": row.gold.content, "calls": _calls(row.gold.calls)}
        line |= _compared(said.reply, row.gold)
    if answered.transcript is not None:
        line["transcript"] = answered.transcript
        line["ended"] = answered.transcript["agent_runs"][-1]["ended"]
    return line


def _compared(reply: Reply, gold: Message) -> JSON:
    """Whether the same tools are called, with the same arguments; texts, where neither calls."""
    if not gold.calls and not reply.calls:
        return {"called_alike": True, "same_text": reply.content.strip() == gold.text.strip()}
    names = [call.name for call in reply.calls] == [call.name for call in gold.calls]
    return {
        "called_alike": bool(reply.calls) == bool(gold.calls),
        "same_names": names,
        "same_calls": reply.calls == gold.calls,
    }


def _calls(calls: Iterable[Any]) -> list[JSON]:
    return [{"name": call.name, "arguments": call.arguments} for call in calls]


def _print(settings: InferSettings, answered: Answered, line: JSON) -> None:
    if settings.as_json:
        shown: JSON = {"where": line["where"], "message": line["message"]}
        if "transcript" in line:
            shown["transcript"] = line["transcript"]
        print(json.dumps(shown, ensure_ascii=False), flush=True)
        return
    print(f"=== {answered.asked.where}")
    reply, shown_as = answered.said.reply, Shown()
    if reply.content:
        print(reply.content)
    for index, call in enumerate(reply.calls):
        shown_as.show(Calling(index, call))


def _kept(file: Path | None) -> dict[str, JSON]:
    """The lines of an earlier run by their keys; one that was cut short is not there."""
    if file is None or not file.exists():
        return {}
    found: dict[str, JSON] = {}
    for number, text in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
        except ValueError:
            print(f"{file}:{number}: cut short, asked again", file=sys.stderr)
            continue
        if isinstance(line, Mapping) and "key" in line:
            found[str(line["key"])] = dict(line)
    return found


def _opened(file: Path | None) -> Any:
    """The file to add lines to, behind its last whole one."""
    if file is None:
        return nullcontext()
    file.parent.mkdir(parents=True, exist_ok=True)
    broken = file.exists() and not file.read_bytes().endswith(b"\n") and file.stat().st_size > 0
    opened: TextIO = file.open("a", encoding="utf-8")
    if broken:
        opened.write("\n")
    return opened


def _tell(lines: Sequence[JSON], rows: int) -> None:
    """The shares of the answers, on stderr."""
    measures = ("well_formed", "called_alike", "same_names", "same_calls", "same_text")
    told: list[str] = []
    for name in measures:
        values = [bool(line[name]) for line in lines if name in line]
        if values:
            told.append(f"{name} {sum(values)}/{len(values)}")
    endings: dict[str, int] = {}
    for line in lines:
        if "ended" in line:
            endings[line["ended"]] = endings.get(line["ended"], 0) + 1
    told += [f"{name} {count}" for name, count in sorted(endings.items())]
    print(f"{len(lines)} of {rows} rows: {', '.join(told) or 'nothing answered'}", file=sys.stderr)
