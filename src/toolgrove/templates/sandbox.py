"""The Jinja environment that chat templates run in: as transformers has it, and bounded.

Source: ``transformers.utils.chat_template_utils`` 5.23: blocks are trimmed, ``tojson`` escapes
nothing for HTML, ``raise_exception``, ``strftime_now``, ``generation`` blocks, loop controls,
inert ``dict`` and ``namespace``; nothing of it is imported.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Generator, Iterable, Iterator, Sized
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import date
from typing import Any, cast

from jinja2 import TemplateError as JinjaError
from jinja2 import Undefined, nodes
from jinja2.exceptions import SecurityError
from jinja2.ext import Extension, loopcontrols
from jinja2.filters import FILTERS  # pyright: ignore[reportUnknownVariableType]
from jinja2.parser import Parser
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

MAX_STEPS = 300_000
"""How many loop rounds and calls a render may take, plus what its conversation allows it."""
MAX_CHARACTERS = 30_000_000
"""How long a text may become that a template makes."""
_MAX_BITS = 100_000
_WIDE_PERCENT = re.compile(r"%[^%a-zA-Z]*(\d{6,}|\*)")
_WIDE_FIELD = re.compile(r":[^{}]*(\d{6,}|\{)")
_DICT, _LIST, _STRING = (frozenset(dir(kind)) for kind in (dict, list, str))
_PADDING = frozenset({"ljust", "rjust", "center", "zfill", "expandtabs"})


class RefusedError(JinjaError):
    """A template wants more than it may have."""


class _Budget:
    """What is left of a render's steps."""

    def __init__(self, steps: int) -> None:
        self.steps = self.left = steps

    def spend(self, steps: int = 1) -> None:
        self.left -= steps
        if self.left < 0:
            raise RefusedError(f"it does not come to an end (more than {self.steps} steps)")


_budget: ContextVar[_Budget] = ContextVar("budget")


def budget() -> _Budget:
    """What is left to the render that runs."""
    return _budget.get()


@contextmanager
def bounded(steps: int) -> Generator[None]:
    """A render inside may take so many steps."""
    token = _budget.set(_Budget(steps))
    try:
        yield
    finally:
        _budget.reset(token)


class Counted:
    """An iterable whose rounds are counted."""

    def __init__(self, items: Any) -> None:
        self._items = items

    def __iter__(self) -> Iterator[Any]:
        budget = _budget.get()
        for item in self._items:
            budget.spend()
            yield item

    def __len__(self) -> int:
        return len(self._items)


class Generation(Extension):
    """The ``generation`` tag, which marks what a model writes: its body is rendered as it is."""

    tags = {"generation"}

    def parse(self, parser: Parser) -> nodes.Node:
        """A call block, as in transformers: what is set inside stays inside."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("body"), [], [], body).set_lineno(line)

    def body(self, caller: Callable[[], str]) -> str:
        """The block's text."""
        before, after = cast(Sandbox, self.environment).around_generation
        return f"{before}{caller()}{after}" if before else caller()


class Sandbox(ImmutableSandboxedEnvironment):
    """Templates can reach no file, make no endless text and run no endless loop."""

    around_generation: tuple[str, str] = ("", "")
    """What is written before and after a ``generation`` block, to see where it was."""
    shape: Callable[[nodes.Template], None] | None = None
    """What is done to a template's tree before it is compiled, its loops counted."""
    intercepted_binops = frozenset({"+", "*", "**", "%"})

    def __init__(self, today: date) -> None:
        super().__init__(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
        )
        names = ("center", "indent", "truncate", "wordwrap", "batch", "slice", "format")
        narrow = {name: _narrow(cast(Any, FILTERS)[name]) for name in names}
        filters = {"tojson": tojson, "counted": Counted, "replace": _sized_replace}
        self.filters.update(narrow | filters)  # pyright: ignore[reportUnknownMemberType]
        own: dict[str, Any] = {
            "raise_exception": _raise,
            "strftime_now": today.strftime,
            "dict": _Dict(),
            "namespace": SafeNamespace,
            "lipsum": _no_lipsum,
        }
        self.globals.update(own)  # pyright: ignore[reportUnknownMemberType]

    def build(self, source: str) -> Any:
        """The compiled template; TemplateSyntaxError when it is no Jinja."""
        tree = self.parse(source)
        for loop in tree.find_all(nodes.For):
            counted = nodes.Filter(loop.iter, "counted", [], [], None, None, lineno=loop.lineno)
            loop.iter = counted
            counted.set_environment(self)
        if self.shape is not None:
            self.shape(tree)
        return self.from_string(self.prepared(tree))

    def prepared(self, tree: nodes.Template) -> nodes.Template:
        """The tree as it is compiled."""
        return tree

    def getattr(self, obj: Any, attribute: str) -> Any:
        """As in Jinja; values that know their origin have no attributes but Python's own."""
        if isinstance(obj, dict) and attribute not in _DICT:
            found = cast(dict[Any, Any], obj).get(attribute, self)
            return self.undefined(obj=obj, name=attribute) if found is self else found
        if isinstance(obj, str) and attribute not in _STRING:
            return self.undefined(obj=obj, name=attribute)
        if isinstance(obj, list) and attribute not in _LIST:
            return self.undefined(obj=obj, name=attribute)
        if isinstance(obj, (SafeNamespace, LoopContext)) and not attribute.startswith("_"):
            value = getattr(obj, attribute, self)
            if value is None or isinstance(value, (str, int)):
                return value
        return super().getattr(obj, attribute)

    def call(self, context: Context, obj: Any, /, *args: Any, **kwargs: Any) -> Any:
        """A call out of a template: counted, and refused where it would make a huge text."""
        _budget.get().spend()
        owner = getattr(obj, "__self__", None)
        if isinstance(owner, str):
            _check_method(owner, str(getattr(obj, "__name__", "")), args)
        return super().call(context, obj, *args, **kwargs)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """``format`` without attributes of Python and without huge widths."""
        owner = getattr(value, "__self__", None)
        formats = getattr(value, "__name__", "") in ("format", "format_map")
        if formats and isinstance(owner, str) and _WIDE_FIELD.search(owner):
            raise RefusedError("it formats very wide text")
        return super().wrap_str_format(value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Sums, products, powers and percent formats whose result stays small."""
        if operator == "+":
            if isinstance(left, Sized) and isinstance(right, Sized):
                check_length(len(left) + len(right))
        elif operator == "%":
            if isinstance(left, str) and _WIDE_PERCENT.search(left):
                raise RefusedError("it formats very wide text")
        else:
            _check_product(operator, left, right)
        return super().call_binop(context, operator, left, right)


def check_length(length: int) -> None:
    """RefusedError for a text or list that would become too long."""
    if length > MAX_CHARACTERS:
        raise RefusedError(f"it makes a text of more than {MAX_CHARACTERS} characters")


def check_join(separator: str, pieces: Iterable[Any]) -> list[Any]:
    """The pieces; RefusedError when they would be too long with the separator between them."""
    items = list(pieces)
    check_length(sum(len(str(item)) + len(separator) for item in items))
    return items


def tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON that escapes nothing for HTML."""
    if isinstance(value, Undefined):
        raise TypeError("Undefined is not JSON")
    if isinstance(indent, int) and indent > 100:
        raise RefusedError("it indents very widely")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _check_method(owner: str, name: str, args: tuple[Any, ...]) -> None:
    if name in _PADDING:
        check_length(sum(arg for arg in args if isinstance(arg, int)) * max(len(owner), 1))
    elif name == "replace" and len(args) > 1:
        _check_replace(owner, str(args[0]), str(args[1]))
    elif name == "join" and args and isinstance(args[0], (list, tuple)):
        check_join(owner, cast(list[Any], args[0]))


def _check_replace(text: str, old: str, new: str) -> None:
    if len(new) > len(old):
        check_length(len(text) + text.count(old) * (len(new) - len(old)))


def _sized_replace(value: Any, old: Any, new: Any, count: int | None = None) -> str:
    text = value if isinstance(value, str) else str(value)
    _check_replace(text, str(old), str(new))
    return text.replace(str(old), str(new), -1 if count is None else count)


def _check_product(operator: str, left: Any, right: Any) -> None:
    for items, times in ((left, right), (right, left)):
        if isinstance(items, Sized) and isinstance(times, int):
            check_length(len(items) * times)
    if isinstance(left, int) and isinstance(right, int):
        bits = left.bit_length() * right if operator == "**" else left.bit_length()
        if max(bits, right.bit_length()) > _MAX_BITS:
            raise RefusedError("it makes a huge number")


def _narrow(inner: Callable[..., Any]) -> Callable[..., Any]:
    """The same filter, refusing very large numbers among its arguments."""

    def guarded(*args: Any, **kwargs: Any) -> Any:
        numbers = [a for a in (*args, *kwargs.values()) if isinstance(a, int)]
        wide = any(isinstance(a, str) and _WIDE_PERCENT.search(a) for a in args)
        if wide or any(number > _MAX_BITS for number in numbers):
            raise RefusedError("it formats very wide text")
        return inner(*args, **kwargs)

    passed = getattr(inner, "jinja_pass_arg", None)
    if passed is not None:
        guarded.jinja_pass_arg = passed  # type: ignore[attr-defined]
    return guarded


def _raise(message: str) -> str:
    raise JinjaError(message)


def _no_lipsum(*_args: Any, **_kwargs: Any) -> str:
    raise RefusedError("it asks for random text")


class _Dict:
    """``dict`` without the attributes of a type."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, keys: Iterable[Any], value: Any = None) -> dict[Any, Any]:
        """As ``dict.fromkeys``."""
        return dict.fromkeys(keys, value)


class SafeNamespace(Namespace):
    """A namespace that holds no underscored name."""

    def __init__(*args: Any, **kwargs: Any) -> None:
        self, given = args[0], args[1:]
        values: dict[Any, Any] = dict(*given, **kwargs)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        Namespace.__setitem__(self, name, value)


def _check_name(name: Any) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace holds no name such as {name!r}")
