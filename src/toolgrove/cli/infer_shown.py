"""What an agent does, shown: in a terminal with panels and colours, else as plain lines."""

from __future__ import annotations

import json
import re
import sys
from typing import TYPE_CHECKING, Any

from toolgrove.agent.events import Calling, Ended, Event, Over, Returned, Said
from toolgrove.cli.parse import message_of
from toolgrove.core.jsonish import dump
from toolgrove.core.messages import ToolCall
from toolgrove.templates.reading import Delta, DeltaKind

if TYPE_CHECKING:
    from rich.console import Console

_RESULT_CHARS = 1500
_RESULT_LINES = 20
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_TOLD = (DeltaKind.TEXT, DeltaKind.THINKING)


class Shown:
    """Shows events on stdout as they come."""

    def __init__(self, as_json: bool = False) -> None:
        self._as_json = as_json
        self._console: Console | None = None
        self._in_line = False
        self._thinking = False
        if not as_json and sys.stdout.isatty():
            from rich.console import Console

            self._console = Console(highlight=False, markup=False, emoji=False)

    def show(self, event: Event) -> None:
        """Shows one event."""
        if self._as_json:
            self._line_of_json(event)
        elif isinstance(event, Delta):
            if event.kind in _TOLD:
                self._piece(event)
        elif isinstance(event, Calling):
            self.end_line()
            self._call(event.call)
        elif isinstance(event, Returned):
            self._result(event)
        elif isinstance(event, Over):
            self.end_line()
            if event.ended is Ended.INTERRUPTED:
                self.note("[stopped]")
            elif event.ended is not Ended.ANSWER:
                self.note(f"[{event.ended}: {event.detail}]")
        elif not event.reply.calls:
            self.end_line()

    def note(self, text: str) -> None:
        """A remark that is no part of the conversation."""
        self.end_line()
        if self._console:
            self._console.print(text, style="yellow")
        else:
            print(text, flush=True, file=sys.stderr if self._as_json else sys.stdout)

    def end_line(self) -> None:
        """Begins a new line where one was begun."""
        if self._in_line:
            print(flush=True)
        self._in_line = self._thinking = False

    def _piece(self, delta: Delta) -> None:
        thinking = delta.kind is DeltaKind.THINKING
        if self._thinking and not thinking:
            self.end_line()
        self._thinking = thinking
        text = safe(delta.text)
        if self._console:
            style = "dim" if thinking else None
            self._console.print(text, end="", style=style, soft_wrap=True)
        else:
            print(text, end="", flush=True)
        self._in_line = self._in_line or bool(text)
        if text.endswith("\n"):
            self._in_line = False

    def _call(self, call: ToolCall) -> None:
        if self._console is None:
            print(f"→ {safe(call.name)}({safe(dump(call.arguments))})", flush=True)
            return
        from rich.panel import Panel
        from rich.text import Text

        arguments = safe(dump(call.arguments, indent=2) if call.arguments else "{}")
        title = Text(f"call {safe(call.name)}")
        self._console.print(Panel(Text(arguments), title=title, title_align="left", style="cyan"))

    def _result(self, event: Returned) -> None:
        text = safe(_cut(event.outcome.text))
        if self._console is None:
            print(f"← {safe(event.call.name)}: {text}", flush=True)
            return
        from rich.panel import Panel
        from rich.text import Text

        title = Text(f"result {safe(event.call.name)}")
        style = "red" if event.outcome.error else "green"
        self._console.print(Panel(Text(text), title=title, title_align="left", style=style))

    def _line_of_json(self, event: Event) -> None:
        line: dict[str, Any] | None = None
        if isinstance(event, Said):
            line = message_of(event.reply)
        elif isinstance(event, Returned):
            text = event.outcome.text
            line = {"role": "tool", "name": event.call.name, "content": text}
        elif isinstance(event, Over) and event.ended is not Ended.ANSWER:
            line = {"ended": str(event.ended), "detail": event.detail}
        if line is not None:
            print(json.dumps(line, ensure_ascii=False), flush=True)


def safe(text: str) -> str:
    """The text without control characters, which would move a terminal's cursor or worse."""
    return _CONTROL.sub("�", text.replace("\r\n", "\n"))


def _cut(text: str) -> str:
    """What of a long result is shown; the model gets more of it."""
    lines = text[:_RESULT_CHARS].splitlines()
    shown = "\n".join(lines[:_RESULT_LINES])
    left = len(text) - len(shown)
    return shown if len(shown) == len(text.rstrip("\n")) else f"{shown}\n[{left:,} characters more]"
