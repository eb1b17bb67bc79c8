"""A template's tree, cut where a render may recall what an earlier one wrote."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple, TypeVar, cast

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

_Node = TypeVar("_Node", bound=nodes.Node)
_MANY_FILES = (
    nodes.Block,
    nodes.Extends,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.EvalContextModifier,
)
_STATEFUL = frozenset({"cycler", "joiner", "lipsum", "self"})
_PLACES = ("index", "index0", "revindex", "revindex0", "first", "last", "length", "depth", "depth0")
_LENGTHS = ("length", "revindex", "revindex0")
_LOOP = frozenset((*_PLACES, "previtem", "nextitem", "cycle"))
_BOUND = frozenset({"loop", "caller", "varargs", "kwargs"})
_COMPARED = ("eq", "ne", "gt", "gteq", "lt", "lteq")
_ASSIGNING = (nodes.Assign, nodes.AssignBlock, nodes.Macro)

Steps = tuple[tuple[bool, str | int], ...]
"""The keys that lead from a variable to a value; True: an attribute, False: an item."""


Path = tuple[int, Steps]
"""A value that a segment only compares with: the number of its variable, and the way on."""


class Segment(NamedTuple):
    """A part of a template that assigns no variable: a statement, or the body of a loop. What it
    writes depends on its ``names``, on how paths into ``roots`` compare, on its round and, where it
    is ``measured``, on how many rounds there are."""

    names: tuple[str, ...]
    roots: tuple[str, ...]
    measured: bool


def segmented(tree: nodes.Template, environment: Environment, first: int) -> list[Segment]:
    """Cuts the tree and gives its segments, whose numbers begin with ``first``; none where its
    state cannot be followed."""
    if not _followed(tree):
        return []
    cutter = _Cutter({node.name: node for node in tree.find_all(nodes.Macro)}, first)
    tree.body = cutter.statements(tree.body)
    for node in cutter.made:
        node.set_environment(environment)
    return cutter.segments


def _followed(tree: nodes.Template) -> bool:
    """Whether all of a render's state is in variables and namespaces, and each macro is one."""
    names = {node.name for node in tree.find_all(nodes.Name)}
    filters = {node.name for node in tree.find_all(nodes.Filter)}
    loops = [node for node in tree.find_all(nodes.Getattr) if _is_loop(node.node)]
    macros = [node.name for node in tree.find_all(nodes.Macro)]
    at_root = [node.name for node in _at_root(tree.body) if isinstance(node, nodes.Macro)]
    strange = [
        any(tree.find_all(_MANY_FILES)),
        bool(names & _STATEFUL),
        "random" in filters,
        len(loops) != sum(map(_is_loop, tree.find_all(nodes.Name))),
        any(node.attr not in _LOOP for node in loops),
        any(loop.recursive for loop in tree.find_all(nodes.For)),
        len(at_root) != len(macros) or len(set(macros)) != len(macros),
    ]
    return not any(strange)


def _is_loop(node: nodes.Node) -> bool:
    return isinstance(node, nodes.Name) and node.name == "loop"


def _at_root(body: Iterable[nodes.Node]) -> Iterator[nodes.Node]:
    """The statements that run outside of loops and macros."""
    for node in body:
        yield node
        if isinstance(node, nodes.If):
            for branch in (node.body, node.elif_, node.else_):
                yield from _at_root(branch)


class _Cutter:
    def __init__(self, macros: dict[str, nodes.Macro], first: int) -> None:
        self._macros, self._first = macros, first
        self.segments: list[Segment] = []
        self.made: list[nodes.Node] = []

    def statements(self, body: list[nodes.Node]) -> list[nodes.Node]:
        """Statements at the root, each as a segment where it may be one."""
        return [self._statement(node) for node in body]

    def _statement(self, node: nodes.Node) -> nodes.Node:
        if isinstance(node, nodes.For) and node.test is None and not _breaks(node.body):
            return self._loop(node)
        inside = list(_at_root([node]))
        if isinstance(node, nodes.If) and any(
            isinstance(inner, (*_ASSIGNING, nodes.For)) for inner in inside
        ):
            self._branches(node)
        elif not isinstance(node, _ASSIGNING) and _names_in(node):
            number = self._segment([node], set())
            return self._recalled("once", self._values(number), [node], number)
        return node

    def _branches(self, node: nodes.If) -> None:
        node.body, node.else_ = self.statements(node.body), self.statements(node.else_)
        for branch in node.elif_:
            branch.body = self.statements(branch.body)

    def _loop(self, loop: nodes.For) -> nodes.Node:
        """A loop each of whose rounds is recalled by itself."""
        number = self._segment(loop.body, {name.name for name in _found(loop.target, nodes.Name)})
        counted = cast(nodes.Filter, loop.iter)
        given: list[nodes.Expr] = [nodes.Const(number), *self._values(number)]
        loop.iter = nodes.Filter(counted.node, "rounds", given, [], None, None)
        loop.body = [
            self._recalled("again", [], _flat(map(_Ends(number).visit, loop.body)), number)
        ]
        self.made.append(loop.iter)
        return loop

    def _segment(self, body: list[nodes.Node], bound: set[str]) -> int:
        """Makes a segment of these statements, which read the variables ``bound`` anew."""
        number = self._first + len(self.segments)
        stored = {n.name for b in body for n in _found(b, nodes.Name) if n.ctx != "load"}
        scans = _Scans()
        body[:] = _flat(map(scans.visit, body))
        compared = _Compared(bound | stored | set(self._macros) | _BOUND)
        body[:] = _flat(map(compared.visit, body))
        self.made += [*scans.made, *compared.made]
        names = sorted(self._read(body, set()) - bound - _BOUND)
        measured = any(
            _is_loop(found.node) and found.attr in _LENGTHS
            for node in body
            for found in _found(node, nodes.Getattr)
        )
        self.segments.append(Segment(tuple(names), tuple(compared.roots), measured))
        return number

    def _read(self, body: Iterable[nodes.Node], seen: set[str]) -> set[str]:
        """The variables that statements look at, those of the macros that they call included."""
        names: set[str] = set()
        for node in body:
            names |= _names_in(node)
        for name in sorted(names & set(self._macros) - seen):
            seen.add(name)
            names |= self._read([self._macros[name]], seen)
        return names

    def _values(self, number: int) -> list[nodes.Expr]:
        segment = self.segments[number - self._first]
        return [
            nodes.Tuple([nodes.Name(name, "load") for name in names], "load")
            for names in (segment.names, segment.roots)
        ]

    def _recalled(
        self, how: str, values: list[nodes.Expr], body: list[nodes.Node], number: int
    ) -> nodes.Node:
        """The statements, but where their text is recalled."""
        test = nodes.Filter(nodes.Const(number), how, values, [], None, None)
        made = nodes.If(nodes.Not(test), [*body, _ended(number)], [], [])
        self.made.append(made)
        return made


class _Scans(NodeTransformer):
    """A loop that only looks for a message of some sort need not look on when it has found one."""

    def __init__(self) -> None:
        self.made: list[nodes.Node] = []

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        found = node.body[0] if len(node.body) == 1 else None
        item = node.target.name if isinstance(node.target, nodes.Name) else ""
        plain = item and node.test is None and not node.else_
        if plain and isinstance(found, nodes.If) and _only_finds(found, item):
            counted = cast(nodes.Filter, node.iter)
            counted.node = nodes.Filter(counted.node, "scanned", [], [], None, None)
            stops = nodes.Filter(nodes.Const(None), "scanning", [], [], None, None)
            found.body.append(nodes.If(stops, [nodes.Break()], [], []))
            self.made += [counted, found]
        return node


def _only_finds(found: nodes.If, item: str) -> bool:
    """Whether the first item that fits does all that the others could: the test looks at the item
    alone and cannot raise for a message; what it leads to sets constants."""
    sets = all(
        isinstance(node, nodes.Assign)
        and isinstance(node.target, nodes.NSRef)
        and isinstance(node.node, nodes.Const)
        for node in found.body
    )
    return sets and not found.elif_ and not found.else_ and _tests(found.test, item)


def _tests(node: nodes.Node, item: str) -> bool:
    if isinstance(node, (nodes.And, nodes.Or)):
        return _tests(node.left, item) and _tests(node.right, item)
    if isinstance(node, nodes.Not):
        return _tests(node.node, item)
    if not isinstance(node, nodes.Compare) or len(node.ops) != 1:
        return False
    left, (operation, right) = node.expr, (node.ops[0].op, node.ops[0].expr)
    if operation in ("in", "notin"):
        return (
            isinstance(left, nodes.Const) and isinstance(right, nodes.Name) and right.name == item
        )
    path = _path(left)
    named = path is not None and path[0] == item and len(path[1]) == 1
    return named and operation in ("eq", "ne") and isinstance(right, nodes.Const)


class _Compared(NodeTransformer):
    """Comparisons with a value that a segment does not change tell how they came out."""

    def __init__(self, changing: set[str]) -> None:
        self._changing = changing
        self.roots: list[str] = []
        self.made: list[nodes.Node] = []

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        self.generic_visit(node)
        if len(node.ops) != 1 or node.ops[0].op not in _COMPARED:
            return node
        left, right = node.expr, node.ops[0].expr
        behind = _path(right)
        other = left if behind is not None and behind[0] not in self._changing else right
        found = behind if other is left else _path(left)
        if found is None or found[0] in self._changing:
            return node
        path: Path = (self._root(found[0]), found[1])
        operation = _COMPARED.index(node.ops[0].op)
        given = [nodes.Const(value) for value in (path, operation, other is left)]
        made = nodes.Filter(other, "compared", [*given], [], None, None)
        self.made.append(made)
        return made

    def _root(self, name: str) -> int:
        if name not in self.roots:
            self.roots.append(name)
        return self.roots.index(name)


def _path(node: nodes.Expr) -> tuple[str, Steps] | None:
    """The variable and the constant keys that an expression is made of."""
    steps: list[tuple[bool, str | int]] = []
    while not isinstance(node, nodes.Name):
        if isinstance(node, nodes.Getattr):
            steps.append((True, node.attr))
        elif isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
            if not isinstance(node.arg.value, (str, int)):
                return None
            steps.append((False, node.arg.value))
        elif isinstance(node, nodes.Getitem) and _minus(node.arg) is not None:
            steps.append((False, cast(int, _minus(node.arg))))
        else:
            return None
        node = node.node
    return node.name, tuple(reversed(steps))


def _minus(node: nodes.Expr) -> int | None:
    inner = node.node if isinstance(node, nodes.Neg) else None
    value = inner.value if isinstance(inner, nodes.Const) else None
    return -value if isinstance(value, int) else None


class _Ends(NodeTransformer):
    """A round that goes on to the next one has ended."""

    def __init__(self, number: int) -> None:
        self._number = number

    def visit_Continue(self, node: nodes.Continue) -> list[nodes.Node]:  # noqa: N802
        return [_ended(self._number), node]

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        return node


def _ended(number: int) -> nodes.Node:
    return nodes.ExprStmt(nodes.Filter(nodes.Const(number), "ended", [], [], None, None))


def _breaks(body: Iterable[nodes.Node]) -> bool:
    """Whether statements of a loop may leave it."""
    return any(
        isinstance(node, nodes.Break)
        or (not isinstance(node, nodes.For) and _breaks(node.iter_child_nodes()))
        for node in body
    )


def _names_in(node: nodes.Node) -> set[str]:
    loaded = {found.name for found in _found(node, nodes.Name) if found.ctx == "load"}
    return loaded | {found.name for found in _found(node, nodes.NSRef)}


def _found(node: nodes.Node, kind: type[_Node]) -> list[_Node]:
    inner = list(node.find_all(kind))
    return [node, *inner] if isinstance(node, kind) else inner


def _flat(visited: Iterable[object]) -> list[nodes.Node]:
    made: list[nodes.Node] = []
    for node in visited:
        made += cast(list[nodes.Node], node) if isinstance(node, list) else [cast(nodes.Node, node)]
    return made
