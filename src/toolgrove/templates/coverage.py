"""Which parts of a template its renders have shown: where all are, equal renders tell something."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

from jinja2 import nodes, pass_context
from jinja2.runtime import Context
from jinja2.visitor import NodeTransformer

from toolgrove.core.messages import Role
from toolgrove.templates.sandbox import Sandbox

_NONE, _VARIED = object(), object()
_ROLES = frozenset(map(str, Role))
_TYPES = frozenset(
    ("string", "mapping", "iterable", "sequence", "number", "integer", "float", "boolean")
)
"""Tests of a value's type, which is the same in all rows."""
_ALWAYS = frozenset({"messages", "tools", "add_generation_prompt"})
"""What a template is always given."""
_UNTOLD = frozenset({"raise_exception", "strftime_now", "namespace", "range", "dict"})
_ARITHMETIC = (nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Pow)
_Given = tuple[tuple[Any, ...], dict[str, Any]]
_MARKED = ("counted", "shown", "filtered", "called", "cut")
_DECIDING = (nodes.Compare, nodes.Test, nodes.Not, nodes.And, nodes.Or)


@dataclass(slots=True)
class _Place:
    """An expression or a body: what it is and where, and what was seen of it."""

    what: str
    line: int
    truth: bool
    first: Any = _NONE
    varied: bool = False


class Coverage:
    """What all renders of a template's sandbox have shown of it.

    A part is shown when it ran, a decision when it came out both ways, any other expression that
    looks at data when it gave two values, and a filter, method or slice of a text when it changed
    one. What cannot differ between rows is left aside: types, roles that no message has.
    """

    def __init__(self, sandbox: Sandbox, given: Iterable[str]) -> None:
        self._given = {*_ALWAYS, *given}
        self._places: list[_Place] = []
        filters: dict[str, Any] = {
            "shown": self._shown,
            "ran": self._ran,
            "filtered": self._filtered,
            "called": self._called,
            "cut": self._cut,
        }
        sandbox.filters.update(filters)  # pyright: ignore[reportUnknownMemberType]
        sandbox.shape = self._shape
        self._sandbox = sandbox
        self._seen: list[tuple[int, Any]] = []

    def finished(self, *, counts: bool) -> None:
        """A render has come to an end; what it showed counts when it was compared."""
        seen, self._seen = self._seen, []
        for number, value in seen if counts else ():
            place = self._places[number]
            if value is _VARIED:
                place.varied = True
            elif place.first is _NONE:
                place.first = value
            elif not place.varied:
                place.varied = type(value) is not type(place.first) or value != place.first

    def missing(self) -> list[str]:
        """What was not shown, in words, in the order of the source."""
        places = [place for place in self._places if not place.varied]
        return [f"line {place.line}: {place.what}" for place in sorted(places, key=_line)]

    def _shape(self, tree: nodes.Template) -> None:
        marker = _Marker(self._places, self._given, {m.name for m in tree.find_all(nodes.Macro)})
        marker.visit(tree)
        tree.set_environment(self._sandbox)

    @pass_context
    def _shown(self, _context: Context, value: Any, number: int) -> Any:
        self._seen.append((number, bool(value) if self._places[number].truth else value))
        return value

    def _changed(self, context: Context, number: int, value: Any, before: Any) -> Any:
        """Notes what was made of a value; items that can be had once only become a list."""
        value = list(value) if hasattr(value, "__next__") else value
        if isinstance(before, str) and isinstance(value, list):
            self._seen += [(number, _VARIED)] * (len(cast(list[Any], value)) > 1)
        elif isinstance(before, (str, list, tuple)) and isinstance(value, (str, list)):
            same = value == (list(cast(Any, before)) if isinstance(before, tuple) else before)
            self._seen += [(number, _VARIED)] * (not same)
        else:
            self._shown(context, value, number)
        return cast(Any, value)

    @pass_context
    def _filtered(
        self, context: Context, before: Any, number: int, name: str, given: _Given
    ) -> Any:
        made = self._sandbox.call_filter(
            name, before, given[0], given[1], context, context.eval_ctx
        )
        return self._changed(context, number, made, before)

    @pass_context
    def _called(self, context: Context, before: Any, number: int, name: str, given: _Given) -> Any:
        method = self._sandbox.getattr(before, name)
        made = self._sandbox.call(context, method, *given[0], **given[1])
        return self._changed(context, number, made, before)

    @pass_context
    def _cut(self, context: Context, before: Any, number: int, bounds: tuple[Any, ...]) -> Any:
        made = self._sandbox.getitem(before, slice(*bounds))
        return self._changed(context, number, made, before)

    @pass_context
    def _ran(self, _context: Context, number: int) -> None:
        self._seen.append((number, _VARIED))


def _line(place: _Place) -> int:
    return place.line


class _Marker(NodeTransformer):
    """Wraps what is to be seen."""

    def __init__(self, places: list[_Place], given: set[str], macros: set[str]) -> None:
        self._places, self._given, self._untold = places, given, _UNTOLD | macros

    def generic_visit(self, node: nodes.Node, *args: Any, **kwargs: Any) -> nodes.Node:
        """Marks the children, then the node."""
        line = node.lineno
        super().generic_visit(cast(Any, node), *args, **kwargs)
        if isinstance(node, (nodes.If, nodes.CondExpr)):
            node.test = self._decision(cast(nodes.Expr, node.test), line)
        elif isinstance(node, (nodes.And, nodes.Or)):
            node.left = self._decision(node.left, line)
            node.right = self._decision(node.right, line)
        elif isinstance(node, (nodes.For, nodes.Macro, nodes.CallBlock)):
            node.body.insert(0, self._run(node))
        if isinstance(node, nodes.For) and node.else_:
            node.else_.insert(0, self._run(node))
        return self._expression(node) if isinstance(node, nodes.Expr) else node

    def _decision(self, test: nodes.Expr, line: int) -> nodes.Expr:
        """A test that must come out both ways, where it is not one that was marked already."""
        marked = isinstance(test, nodes.Filter) and test.name == "shown"
        if marked or isinstance(test, nodes.Const) or self._settled(test):
            return test
        return self._placed(test, "the test never came out both ways", line, truth=True)

    def _expression(self, node: nodes.Expr) -> nodes.Expr:
        if isinstance(node, _DECIDING):
            return node if self._settled(node) else self._decision(node, node.lineno)
        if not any(name.ctx == "load" for name in node.find_all(nodes.Name)):
            return node
        if isinstance(node, nodes.Filter):
            return self._filter(node)
        if isinstance(node, nodes.Call):
            return self._call(node)
        if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Slice):
            bounds = (node.arg.start, node.arg.stop, node.arg.step)
            parts = nodes.Tuple([bound or nodes.Const(None) for bound in bounds], "load")
            number = self._new("the slice never left anything out", node.lineno, truth=False)
            return _through(node, node.node, "cut", [nodes.Const(number), parts])
        if isinstance(node, _ARITHMETIC):
            return self._placed(node, "the value was always the same", node.lineno)
        return node

    def _filter(self, node: nodes.Filter) -> nodes.Expr:
        if node.node is None or node.name in (*_MARKED, "string", "safe", "list"):
            return node
        number = self._new(f"the filter {node.name} never changed anything", node.lineno, False)
        given = _arguments(node)
        if given is None:
            return node
        place = [nodes.Const(number), nodes.Const(node.name), given]
        return _through(node, node.node, "filtered", place)

    def _call(self, node: nodes.Call) -> nodes.Expr:
        if isinstance(node.node, nodes.Name) and node.node.name in self._untold:
            return node
        given = _arguments(node)
        if given is None or not isinstance(node.node, nodes.Getattr):
            return self._placed(node, "the value was always the same", node.lineno)
        owner, name = node.node.node, node.node.attr
        number = self._new(f"the method {name} never changed anything", node.lineno, truth=False)
        return _through(node, owner, "called", [nodes.Const(number), nodes.Const(name), given])

    def _settled(self, test: nodes.Node) -> bool:
        """Whether a test comes out alike for all rows, by what it asks."""
        inner = test.node if isinstance(test, nodes.Not) else test
        if isinstance(inner, nodes.Filter) and inner.name == "shown":
            return True
        if isinstance(inner, nodes.Test):
            named = isinstance(inner.node, nodes.Name) and inner.node.name in self._given
            return inner.name in _TYPES or (named and inner.name in ("defined", "undefined"))
        if not isinstance(inner, nodes.Compare) or len(inner.ops) != 1:
            return isinstance(test, nodes.Not) and self._settled(inner)
        sides = (inner.expr, inner.ops[0].expr)
        words = {side.value for side in sides if isinstance(side, nodes.Const)}
        role = any(_asks_role(side) for side in sides)
        return role and inner.ops[0].op in ("eq", "ne") and bool(words) and not words & _ROLES

    def _run(self, node: nodes.Node) -> nodes.Node:
        number = self._new("the body never ran", node.lineno, truth=False)
        ran = nodes.Filter(nodes.Const(number), "ran", [], [], None, None, lineno=node.lineno)
        return nodes.ExprStmt(ran, lineno=node.lineno)

    def _placed(
        self, node: nodes.Expr, what: str, line: int, *, truth: bool = False
    ) -> nodes.Filter:
        number = self._new(what, line, truth)
        return nodes.Filter(node, "shown", [nodes.Const(number)], [], None, None, lineno=line)

    def _new(self, what: str, line: int, truth: bool) -> int:
        self._places.append(_Place(what, line, truth))
        return len(self._places) - 1


def _through(
    node: nodes.Expr, value: nodes.Expr, name: str, given: list[nodes.Expr]
) -> nodes.Filter:
    return nodes.Filter(value, name, given, [], None, None, lineno=node.lineno)


def _arguments(node: nodes.Filter | nodes.Call) -> nodes.Expr | None:
    """The arguments as one expression; None where their number is not known."""
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        return None
    named = [
        nodes.Pair(nodes.Const(cast(Any, word).key), cast(Any, word).value) for word in node.kwargs
    ]
    return nodes.Tuple([nodes.Tuple(list(node.args), "load"), nodes.Dict(named)], "load")


def _asks_role(node: nodes.Node) -> bool:
    if isinstance(node, nodes.Getattr):
        return node.attr == "role"
    return (
        isinstance(node, nodes.Getitem)
        and isinstance(node.arg, nodes.Const)
        and node.arg.value == "role"
    )
