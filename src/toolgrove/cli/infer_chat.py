"""A chat in the terminal: questions, commands, results typed by hand; also out of a pipe."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.agent.events import Calling, Ended, Returned, Said
from toolgrove.agent.load import sources
from toolgrove.agent.permission import Answer, Permission
from toolgrove.agent.session import Session
from toolgrove.agent.simulated import Typed, typed
from toolgrove.agent.tools import RunnableTool, Toolbox
from toolgrove.cli.infer import limits_of
from toolgrove.cli.infer_shown import Shown, safe
from toolgrove.cli.infer_typed import Typist, result_in, typist
from toolgrove.core.errors import ConfigError, ToolgroveError, did_you_mean
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall

if TYPE_CHECKING:
    from toolgrove.agent.events import Event
    from toolgrove.agent.model import Model
    from toolgrove.cli.infer import InferSettings

HELP = """exit                  leave (also quit, Ctrl-D; Ctrl-C stops a reply or a tool)
clear                 forget the conversation
reset-system          begin anew with another system prompt, which you are asked for
multi-line            type several lines at once, the last of which ends in #
single-line           a line is a message again
tools list            the tools on offer
tools load WORD       add tools: FILE.py, mcp:COMMAND, an OpenAPI document, a JSON list ...
tools drop NAME       take out a tool, or all of a source
save [FILE]           write the conversation down, a line of JSON behind those of the file
tool: TEXT            give TEXT as a tool's result
A / before a command says that no message is meant: /clear, /tools load x.py, /system TEXT"""

_BARE = frozenset(
    {"exit", "quit", "clear", "reset-system", "multi-line", "single-line", "save", "help"}
)
_SAVED = "conversation.jsonl"


def talk(settings: InferSettings, load: Callable[[], Model]) -> int:
    """Answers the one question, or talks until the user leaves. The model is loaded last, when
    nothing else can be wrong."""
    if settings.result_path is not None:
        settings.result_path.parent.mkdir(parents=True, exist_ok=True)
        settings.result_path.open("a").close()
    person = typist()
    with Toolbox(otherwise=_anything(settings, person)) as toolbox:
        for given in settings.tools:
            added(toolbox, settings, person, given)
        chat = Chat(settings, load(), toolbox, person)
        try:
            if settings.query is not None:
                return chat.one_question(settings.query)
            return chat.run()
        finally:
            chat.keep()


def _anything(
    settings: InferSettings, person: Typist
) -> Callable[[str], RunnableTool | None] | None:
    """Calls of tools that nobody listed have results that are typed, where stop words were given:
    the system prompt may describe the tools."""
    if not settings.stop_words and not settings.eval_human:
        return None

    def find(name: str) -> RunnableTool | None:
        spec = {"type": "function", "function": {"name": name}}
        return None if settings.tools else typed(Tool(spec), person.observation)

    return find


@dataclass
class Chat:
    """A session and how it is talked to."""

    settings: InferSettings
    model: Model
    toolbox: Toolbox
    person: Typist
    shown: Shown = field(init=False)
    session: Session = field(init=False)
    multi_line: bool = False

    def __post_init__(self) -> None:
        self.shown = Shown(self.settings.as_json)
        self._begin(self.settings.system)

    def one_question(self, query: str) -> int:
        """Asks once. Calls of tools that nothing runs are shown and not answered."""
        nobody = not self.person.present and not self.settings.eval_human
        if nobody and any(tool.by_hand for tool in self.toolbox.tools):
            talk = self.session.conversation
            messages = (*talk.messages, Message(Role.USER, query))
            asked = Conversation(messages, self.toolbox.offered)
            for event in shown_reply(self.model, asked):
                self.shown.show(event)
            self.shown.end_line()
            return 0
        return 0 if self._work(self.session.ask(query)) else 130

    def run(self) -> int:
        """Reads and answers until the end of the input."""
        print("Type a message, or help.", file=sys.stderr)
        stopped = False
        while True:
            try:
                line = self.person.message(self.multi_line)
                stopped = False
                if not self.take(line):
                    return 0
            except EOFError:
                return 0
            except KeyboardInterrupt:
                if stopped or not self.person.present:
                    return 130
                stopped = True
                print("Ctrl-C again, or exit, to leave", file=sys.stderr)
            except ToolgroveError as error:
                self.shown.end_line()
                print(f"error: {error}", file=sys.stderr)

    def take(self, line: str) -> bool:
        """A message or a command; False: leave."""
        command = None if result_in(line) is not None else _command(line)
        if command in ("exit", "quit"):
            return False
        if command is not None:
            self._commanded(command)
        elif (result := result_in(line)) is not None:
            self._work(self._with_result(result))
        elif line.strip():
            before = self.session.conversation
            try:
                self._work(self.session.ask(line))
            except ToolgroveError:
                if self.session.conversation.messages[-1].role is Role.USER:
                    self.session.conversation = before
                raise
        return True

    def keep(self) -> None:
        """Writes the conversation to ``--result_path``, if there is one."""
        if self.settings.result_path is not None:
            self._save(self.settings.result_path)

    def _begin(self, system: str | None) -> None:
        may = self._may if self.person.present else None
        permission, limits = Permission(self.settings.allow, may), limits_of(self.settings)
        messages = () if system is None else (Message(Role.SYSTEM, system),)
        self.session = Session(self.model, self.toolbox, permission, limits, Conversation(messages))

    def _may(self, tool: RunnableTool, call: ToolCall) -> Answer:
        self.shown.note(f"{tool.name} of {tool.source} may change things.")
        return self.person.permission(call)

    def _work(self, events: Iterator[Event]) -> bool:
        """Shows what happens; False when the user stopped it."""
        try:
            for event in events:
                if not self._was_typed(event):
                    self.shown.show(event)
        except KeyboardInterrupt:
            close = getattr(events, "close", None)
            if close is not None:
                close()
            self.shown.note("[stopped]")
            return False
        over = self.session.works[-1].over
        return over is None or over.ended is not Ended.INTERRUPTED

    def _was_typed(self, event: Event) -> bool:
        """Whether the user has just typed what the event tells."""
        if not isinstance(event, Returned) or self.settings.as_json:
            return False
        tool = self.toolbox.find(event.call.name)
        return tool is not None and tool.by_hand and not event.outcome.error

    def _with_result(self, text: str) -> Iterator[Event]:
        """Goes on with a result that the user gives without being asked."""
        messages = self.session.conversation.messages
        if not messages or messages[-1].role is Role.SYSTEM:
            raise ConfigError("nothing waits for a result", hint="ask for something first")
        last = messages[-1]
        if last.role is Role.TOOL and self._unanswered(last):
            self.session.conversation = self.session.conversation.until(len(messages) - 1)
            self.session.add(Message(Role.TOOL, text, name=last.name, call_id=last.call_id))
        else:
            self.session.add(Message(Role.TOOL, text))
        return self.session.go()

    def _unanswered(self, result: Message) -> bool:
        return result.text.startswith("error: ")

    def _commanded(self, command: str) -> None:
        name, _, rest = command.partition(" ")
        rest = rest.strip()
        if name == "clear":
            self.keep()
            self._begin(self._system())
        elif name in ("reset-system", "system"):
            self.keep()
            self._begin(rest or self.person.system() or None)
        elif name in ("multi-line", "single-line"):
            self.multi_line = name == "multi-line"
        elif name == "tools":
            self._tools(rest)
        elif name == "save":
            self._save(Path(rest or _SAVED))
        elif name == "help":
            print(HELP, file=sys.stderr)
        else:
            known = sorted(_BARE | {"tools", "system"})
            near = did_you_mean(name, known) or f"commands: {', '.join(known)}"
            raise ConfigError(f"unknown command /{name}", hint=near)

    def _system(self) -> str | None:
        messages = self.session.conversation.messages
        return messages[0].text if messages and messages[0].role is Role.SYSTEM else None

    def _tools(self, rest: str) -> None:
        word, _, what = rest.partition(" ")
        if word == "drop" and what:
            print(f"dropped: {', '.join(self.toolbox.drop(what.strip()))}", file=sys.stderr)
        elif word not in ("", "list"):
            given = what.strip() if word == "load" and what else rest
            new = added(self.toolbox, self.settings, self.person, given)
            print(f"tools: {', '.join(tool.name for tool in new) or 'none'}", file=sys.stderr)
        else:
            for tool in self.toolbox.tools:
                how = "by hand" if tool.by_hand else "reads only" if tool.reads_only else "asks"
                about = tool.tool.description.partition("\n")[0]
                print(safe(f"{tool.name} ({tool.source}; {how}): {about}"), file=sys.stderr)
            if not self.toolbox.tools:
                print("no tools", file=sys.stderr)

    def _save(self, file: Path) -> None:
        if not any(m.role is Role.USER for m in self.session.conversation.messages):
            return
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("a", encoding="utf-8") as out:
            out.write(json.dumps(self.session.transcript(), ensure_ascii=False) + "\n")
        print(f"saved: {file}", file=sys.stderr)


def added(
    toolbox: Toolbox, settings: InferSettings, person: Typist, given: str | dict[str, Any]
) -> list[RunnableTool]:
    """The tools that a word or a document adds; by hand, when the user wants to type results."""
    found: list[RunnableTool] = []
    for source in sources(given if isinstance(given, str) else [given], person.observation):
        taken = source
        if settings.eval_human and not isinstance(source, Typed):
            specs = [tool.tool for tool in source.tools]
            source.close()
            taken = Typed(specs, person.observation, source.name)
        try:
            found += toolbox.add(taken)
        except ToolgroveError:
            taken.close()
            raise
    return found


def shown_reply(model: Model, asked: Conversation) -> Iterator[Event]:
    """One reply with its calls, which nobody runs."""
    for event in model.stream(asked):
        yield event
        if isinstance(event, Said):
            yield from (Calling(index, call) for index, call in enumerate(event.reply.calls))


def _command(line: str) -> str | None:
    """The command in a line, without its slash; None: the line is a message."""
    text = line.strip()
    if text.startswith("/") and len(text) > 1 and text[1].isalpha():
        name, _, rest = text[1:].partition(" ")
        name = "clear" if name == "reset" else name.lower()
        return f"{name} {rest}".strip()
    lowered = text.lower()
    if lowered in _BARE:
        return lowered
    words = text.split(maxsplit=2)
    if words[:1] == ["save"] and len(words) == 2:
        return text
    listed = len(words) == 2 and words[1] == "list"
    chosen = len(words) == 3 and words[1] in ("load", "drop")
    return text if words[:1] == ["tools"] and (listed or chosen) else None
