"""A maker's own Jinja chat template, rendered as transformers does but without importing it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from functools import cached_property
from typing import Any

from jinja2 import TemplateError as JinjaError
from jinja2 import meta, nodes

from toolgrove.core.errors import TemplateError, did_you_mean
from toolgrove.core.messages import Conversation, Message, Role, ToolCall
from toolgrove.core.spans import Kind
from toolgrove.templates.base import THINK_CLOSE, THINK_OPEN
from toolgrove.templates.sandbox import MAX_STEPS, RefusedError, Sandbox, bounded
from toolgrove.templates.tracked import LITERAL, Origin, Tracked, glued, track
from toolgrove.templates.tracking import TrackingSandbox

_KIND_OF_ROLE = {
    Role.SYSTEM: Kind.SYSTEM,
    Role.USER: Kind.USER,
    Role.ASSISTANT: Kind.TEXT,
    Role.TOOL: Kind.RESULT,
}
_RAISED = (
    JinjaError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


Code = tuple[Any, Any]
"""A compiled template: for conversations without tools, and with."""


class MakersTemplate:
    """A compiled chat template. Source: ``transformers.utils.chat_template_utils`` 5.23: keys that
    are None are dropped from messages, reasoning is given as ``reasoning_content`` and
    ``thinking``; with tools, the template named ``tool_use`` is used where there is one.
    """

    def __init__(
        self,
        source: str,
        variables: Mapping[str, Any],
        today: date,
        tool_source: str | None = None,
    ) -> None:
        self._sources = (source, tool_source or source)
        self.today = today
        """The date that the template may print."""
        self._variables = dict(variables)
        self._plain = self.compiled(Sandbox(today))

    @cached_property
    def names(self) -> set[str]:
        """The names of the variables that the template may be given."""
        trees = [Sandbox(self.today).parse(source) for source in set(self._sources)]
        return {name for tree in trees for name in meta.find_undeclared_variables(tree)}

    def compared(self, name: str) -> set[str]:
        """The strings that the template compares one of its variables with."""
        values: set[str] = set()
        for source in self._sources:
            for compare in Sandbox(self.today).parse(source).find_all(nodes.Compare):
                if any(found.name == name for found in compare.find_all(nodes.Name)):
                    constants = (found.value for found in compare.find_all(nodes.Const))
                    values |= {value for value in constants if isinstance(value, str)}
        return values

    @cached_property
    def tracking(self) -> Code:
        """The code that writes texts which know where they come from."""
        return self.compiled(TrackingSandbox(self.today))

    def render(self, conv: Conversation, generate: bool) -> str:
        """The conversation's text. TemplateError when the template raises, does not come to an end
        or writes nothing."""
        text = "".join(self.pieces(self._plain, conv, self.plain_given(conv, generate)))
        if not text.strip() and any(message.text.strip() for message in conv.messages):
            raise TemplateError(
                "the model's own template writes nothing",
                hint="name a chat template with --template",
            )
        return text

    def tracked(self, conv: Conversation, generate: bool) -> Tracked:
        """The same text, which knows where each of its characters comes from.

        TemplateError when it is not the very text that ``render`` gives: nothing is guessed.
        """
        rows = [tracked_row(index, m) for index, m in enumerate(conv.messages)]
        plain = self.render(conv, generate)
        given = self.tracked_given(conv, rows, generate)
        text = glued(self.pieces(self.tracking, conv, given))
        if not str.__eq__(text, plain):
            raise TemplateError(
                "the model's own template handles text in a way that cannot be followed",
                hint="name a chat template with --template",
            )
        return text

    def plain_given(self, conv: Conversation, generate: bool) -> dict[str, Any]:
        """What the template is given."""
        given = {
            "messages": [row_of(message) for message in conv.messages],
            "tools": [tool.spec for tool in conv.tools] or None,
            "add_generation_prompt": generate,
        }
        return {**self._variables, **given}

    def has_tag(self, name: str) -> bool:
        """Whether there is a tag of that name in the source."""
        return any(re.search(rf"{{%[-+]?\s*{name}\b", source) for source in self._sources)

    def names_any(self, marks: Iterable[str]) -> bool:
        """Whether one of the marks stands in the source."""
        return any(mark in source for mark in marks if mark for source in self._sources)

    def tracked_given(
        self, conv: Conversation, rows: Sequence[Any], generate: bool
    ) -> dict[str, Any]:
        """What the template is given, its texts knowing where they come from as ``rows`` do."""
        tools = track([tool.spec for tool in conv.tools], Origin(Kind.TOOLS))
        variables = {name: track(value, LITERAL) for name, value in self._variables.items()}
        given = {"messages": rows, "tools": tools or None, "add_generation_prompt": generate}
        return {**variables, **given}

    def compiled(self, sandbox: Sandbox) -> Code:
        """The template's code for a sandbox; TemplateError when it is no Jinja."""
        try:
            plain, tools = self._sources
            made = sandbox.build(plain)
            return made, (made if tools == plain else sandbox.build(tools))
        except (JinjaError, RecursionError, SyntaxError) as error:
            raise TemplateError(
                f"the chat template is not valid Jinja: {error}", hint="name one with --template"
            ) from error

    def pieces(self, code: Code, conv: Conversation, given: dict[str, Any]) -> Iterator[str]:
        """What the template writes, piece by piece as it writes it."""
        length = sum(len(message.text) for message in conv.messages)
        steps = MAX_STEPS + 20 * len(conv.messages) ** 2 + length
        made = code[bool(conv.tools)]
        try:
            with bounded(steps):
                yield from made.root_render_func(made.new_context(given))
        except RefusedError as error:
            raise TemplateError(f"the model's own template is stopped: {error}") from error
        except _RAISED as error:
            raise _raised(error) from error


def _raised(error: Exception) -> TemplateError:
    """What a template's error means to its user."""
    says = str(error)
    if "no loader for this environment" in says:
        return TemplateError(
            "the model's own template asks for another file, and may read none",
            hint="put all of it into one file, or name a chat template with --template",
        )
    missing = re.match(r"'(\w+)' is undefined", says)
    option = f"if {missing[1]} is an option of it, give it with --option" if missing else None
    return TemplateError(f"the model's own template raises: {error}", hint=option)


def check_options(template: MakersTemplate, options: Mapping[str, Any]) -> None:
    """TemplateError for an option that the template never looks at."""
    for name in options:
        if name not in template.names:
            raise TemplateError(
                f'the model\'s own template has no option "{name}"',
                hint=did_you_mean(name, template.names) or "see the variables in its source",
            )


def row_of(message: Message) -> dict[str, Any]:
    """A message as templates are given it."""
    row: dict[str, Any] = {"role": str(message.role)}
    if message.content is not None:
        row["content"] = message.content
    if message.thinking is not None:
        row["reasoning_content"] = row["thinking"] = message.thinking
    if message.calls:
        row["tool_calls"] = [_call(call) for call in message.calls]
    if message.name is not None:
        row["name"] = message.name
    if message.call_id is not None:
        row["tool_call_id"] = message.call_id
    return row


def _call(call: ToolCall) -> dict[str, Any]:
    row: dict[str, Any] = {} if call.id is None else {"id": call.id}
    arguments = call.arguments if call.given is None else call.given
    return {**row, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def tracked_row(index: int, message: Message) -> dict[str, Any]:
    """A message whose texts know that they belong to it; a role is one of our own words."""
    own = Origin(_KIND_OF_ROLE[message.role], index)
    made: dict[str, Any] = {}
    for key, value in row_of(message).items():
        if key == "role":
            made[key] = Tracked.of(value, LITERAL)
        elif key == "content":
            made[key] = _tracked_content(value, own)
        elif key == "tool_calls":
            made[key] = [_tracked_call(call, index, n) for n, call in enumerate(value)]
        else:
            thinks = key in ("reasoning_content", "thinking")
            made[key] = Tracked.of(value, Origin(Kind.THINKING, index) if thinks else own)
    return made


def _tracked_content(text: str, origin: Origin) -> Tracked:
    """A message's text; reasoning that an assistant's text holds in think tags is thinking."""
    end = text.find(THINK_CLOSE) if origin.kind is Kind.TEXT else -1
    if end < 0:
        return Tracked.of(text, origin)
    opened = text.find(THINK_OPEN, 0, end)
    start = opened + len(THINK_OPEN) if opened >= 0 else 0
    thinking = origin._replace(kind=Kind.THINKING)
    runs = ((start, origin), (end - start, thinking), (len(text) - end, origin))
    return Tracked.made(text, runs)


def _tracked_call(row: dict[str, Any], message: int, call: int) -> dict[str, Any]:
    made = {key: Tracked.of(str(row[key]), LITERAL) for key in row if key == "type"}
    arguments = Origin(Kind.CALL_ARGS, message, call)
    if "id" in row:
        made = {"id": Tracked.of(row["id"], arguments), **made}
    name = Tracked.of(row["function"]["name"], Origin(Kind.CALL_NAME, message, call))
    given = track(row["function"]["arguments"], arguments)
    return {**made, "function": {"name": name, "arguments": given}}
