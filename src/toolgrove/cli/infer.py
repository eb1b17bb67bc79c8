"""``toolgrove infer``: a chat with a model in the terminal, or its replies to a data set."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

from toolgrove.cli.inputs import RowsSettings, conversations_of, dialect_of
from toolgrove.cli.parse import message_of, tools_from
from toolgrove.core.errors import ConfigError, ToolgroveError, did_you_mean
from toolgrove.core.messages import Conversation, Message, Reply, Role, Tool

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.engine.base import Engine, Sampling
    from toolgrove.templates.dialect import Dialect

HELP = """/tools FILE   offer the tools of a JSON file (/tools alone: none)
/result TEXT  give back what the last call returned
/system TEXT  begin anew with this system prompt
/reset        forget the conversation
/exit         leave"""


class InferSettings(RowsSettings):
    """Which model answers what, and how."""

    adapters: list[str] = []
    """Folders of LoRA adapters to put on the model; the first one is used."""

    query: str | None = Field(default=None, alias="prompt")
    """Ask this one thing and leave."""

    system: str | None = None
    """System prompt."""

    tools: str | None = None
    """The tools on offer: a JSON file with a list of tools, or the list itself."""

    max_new_tokens: int = Field(default=512, ge=1)
    """Longest reply in tokens."""

    temperature: float = Field(default=0.0, ge=0)
    """0 always takes the likeliest token; higher is more varied."""

    top_p: float = Field(default=1.0, gt=0, le=1)
    """Draw from the likeliest tokens that together have this probability."""

    top_k: int = Field(default=0, ge=0)
    """Draw from this many of the likeliest tokens; 0 draws from all."""

    seed: int | None = None
    """Makes drawing repeatable."""

    as_json: bool = Field(default=False, alias="json")
    """Print each reply as a message in JSON."""


def run(settings: InferSettings) -> int:
    """Answers the one question, or every row, or whatever is typed."""
    tools = tools_from(settings.tools) if settings.tools else ()
    chat = _load(settings)
    begin = _opening(settings.system, tools)
    if settings.query is not None:
        asked = replace(begin, messages=(*begin.messages, _user(settings.query)))
        chat.show(asked, settings.as_json)
        return 0
    if settings.dataset:
        return _answer_rows(settings, chat)
    return _talk(chat, begin, settings.as_json)


class Chat:
    """A model, its dialect and how to draw: answers conversations."""

    def __init__(
        self, engine: Engine, dialect: Dialect, tokenizer: Tokenizer, sampling: Sampling
    ) -> None:
        self._engine = engine
        self._dialect = dialect
        self._tokenizer = tokenizer
        self._sampling = sampling

    def reply(self, asked: Conversation, say: Callable[[str], object]) -> Reply:
        """The reply; ``say`` gets its thinking and text as they come. Ctrl-C ends it early."""
        from toolgrove.encoding.encode import prompt_ids, refuse_losses
        from toolgrove.templates.reading import DeltaKind

        refuse_losses(asked, self._dialect)
        ids = prompt_ids(asked, self._dialect, self._tokenizer)
        reader = self._dialect.reader(asked.tools, self._dialect.prompt(asked))
        try:
            for chunk in self._engine.stream([ids], self._sampling):
                for delta in reader.feed(chunk.text):
                    if delta.kind in (DeltaKind.TEXT, DeltaKind.THINKING):
                        say(delta.text)
        except KeyboardInterrupt:
            say(" [stopped]")
        for delta in reader.rest():
            if delta.kind in (DeltaKind.TEXT, DeltaKind.THINKING):
                say(delta.text)
        return reader.finish()

    def show(self, asked: Conversation, as_json: bool) -> Reply:
        """The reply, printed while it comes: text as it is, calls a line each."""
        if as_json:
            reply = self.reply(asked, lambda _text: None)
            print(json.dumps(message_of(reply), ensure_ascii=False))
            return reply
        reply = self.reply(asked, _say)
        print("\n" if reply.content and reply.calls else "", end="")
        for call in reply.calls:
            arguments = json.dumps(call.arguments, ensure_ascii=False)
            print(f"→ {call.name}({arguments})", end="\n" if call is not reply.calls[-1] else "")
        print(flush=True)
        return reply


def _load(settings: InferSettings) -> Chat:
    from toolgrove.encoding.tokenizer import load_tokenizer
    from toolgrove.engine.base import Sampling
    from toolgrove.engine.local import LocalEngine
    from toolgrove.models.load import fetch_model

    if settings.model is None:
        raise ConfigError('"model" is missing', hint="give --model FOLDER")
    folder = fetch_model(settings.model)
    dialect = dialect_of(settings)
    adapters = {Path(path).name: Path(path) for path in settings.adapters}
    sampling = Sampling(
        max_new_tokens=settings.max_new_tokens,
        temperature=settings.temperature,
        top_p=settings.top_p,
        top_k=settings.top_k,
        seed=settings.seed,
        stop=dialect.stops,
    )
    engine = LocalEngine.load(folder, adapters=adapters)
    return Chat(engine, dialect, load_tokenizer(folder), sampling)


def _answer_rows(settings: InferSettings, chat: Chat) -> int:
    """Answers the last question of each row; an answer that the row has is left out."""
    for where, talk in conversations_of(settings.dataset):
        messages = talk.messages
        while messages and messages[-1].role is Role.ASSISTANT:
            messages = messages[:-1]
        asked = replace(talk, messages=messages)
        if settings.as_json:
            reply = chat.reply(asked, lambda _text: None)
            row: dict[str, Any] = {"where": where, "message": message_of(reply)}
            print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            print(f"=== {where}")
            chat.show(asked, as_json=False)
    return 0


def _talk(chat: Chat, begin: Conversation, as_json: bool) -> int:
    print("Type a message, or /help.", file=sys.stderr)
    talk = begin
    while True:
        try:
            line = input("> " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return 0
        if line == "/exit":
            return 0
        try:
            if line and not line.startswith("/"):
                talk = _answered(
                    chat, replace(talk, messages=(*talk.messages, _user(line))), as_json
                )
            elif line.startswith("/result "):
                talk = _answered(chat, _with_result(talk, line.removeprefix("/result ")), as_json)
            elif line:
                talk = _commanded(line, talk)
        except ToolgroveError as error:
            print(f"error: {error}", file=sys.stderr)


def _answered(chat: Chat, asked: Conversation, as_json: bool) -> Conversation:
    reply = chat.show(asked, as_json)
    said = Message(Role.ASSISTANT, reply.content, reply.thinking, reply.calls)
    return replace(asked, messages=(*asked.messages, said))


def _commanded(line: str, talk: Conversation) -> Conversation:
    """The conversation after a line like ``/reset``."""
    command, _, rest = line.partition(" ")
    system = talk.messages[0].text if talk.messages[:1] and _is_system(talk.messages[0]) else None
    if command == "/tools":
        tools = tools_from(rest.strip()) if rest.strip() else ()
        print(f"tools: {', '.join(tool.name for tool in tools) or 'none'}", file=sys.stderr)
        return replace(talk, tools=tools)
    if command == "/system":
        return _opening(rest.strip() or None, talk.tools)
    if command == "/reset":
        return _opening(system, talk.tools)
    if command != "/help":
        known = ("/tools", "/result", "/system", "/reset", "/exit")
        raise ConfigError(f"unknown command {command}", hint=did_you_mean(command, known))
    print(HELP, file=sys.stderr)
    return talk


def _with_result(talk: Conversation, content: str) -> Conversation:
    calls = talk.messages[-1].calls if talk.messages else ()
    if not calls:
        raise ConfigError("no call waits for a result", hint="ask for something first")
    result = Message(Role.TOOL, content, name=calls[0].name)
    return replace(talk, messages=(*talk.messages, result))


def _opening(system: str | None, tools: tuple[Tool, ...]) -> Conversation:
    messages = () if system is None else (Message(Role.SYSTEM, system),)
    return Conversation(messages, tools)


def _user(text: str) -> Message:
    return Message(Role.USER, text)


def _is_system(message: Message) -> bool:
    return message.role is Role.SYSTEM


def _say(text: str) -> None:
    print(text, end="", flush=True)
