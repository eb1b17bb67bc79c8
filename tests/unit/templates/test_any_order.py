"""Members in any order, each once, with bounds on how many, and what stands where they are many."""

from itertools import permutations

import pytest

from toolgrove.templates.any_order import Members, Piece, in_any_order, in_order
from toolgrove.templates.rules import Rules, literal

xgrammar = pytest.importorskip("xgrammar", reason='needs "toolgrove[grammar]"')
admits = pytest.importorskip("xgrammar.testing")._is_grammar_accept_string


def listing(names, required="", **more):
    rules = Rules()
    pieces = tuple(Piece(rules.rule(literal(name)), name in required) for name in names)
    found = in_any_order(rules, Members(pieces, comma='","', **more))
    return xgrammar.Grammar.from_ebnf(rules.text(f'"<" {found.rule} ">"')), found.notes


def test_every_order_and_no_repetition():
    grammar, notes = listing("abcd", "bd")
    assert notes == ()
    for count in range(5):
        for chosen in permutations("abcd", count):
            assert admits(grammar, f"<{','.join(chosen)}>") is ({"b", "d"} <= set(chosen))
    assert not admits(grammar, "<a,b,d,a>")
    assert not admits(grammar, "<b,d,>")


def test_others_stand_anywhere():
    grammar, notes = listing("ab", "a", more="[x-z]")
    assert notes == ()
    assert all(admits(grammar, f"<{text}>") for text in ("x,a", "a,x,y", "x,b,x,a,z", "a"))
    assert not any(admits(grammar, f"<{text}>") for text in ("x,b", "x", "", "a,x,a"))


def test_counts():
    grammar, notes = listing("abc", least=1, most=2)
    assert notes == ()
    assert [admits(grammar, f"<{text}>") for text in ("", "c", "c,a", "c,a,b")] == [0, 1, 1, 0]
    grammar, notes = listing("", more="[x-z]", least=1, most=2)
    assert notes == ()
    assert [admits(grammar, f"<{text}>") for text in ("", "x", "x,y", "x,y,z")] == [0, 1, 1, 0]
    assert listing("a", more="[x-z]", least=2)[1] == ("minProperties is not enforced",)


def test_none_at_all():
    assert admits(listing("a", empty='"-"')[0], "<->")
    assert not admits(listing("a", empty=None)[0], "<>")
    assert admits(listing("")[0], "<>")


def test_many_stand_as_declared_or_the_required_ones_first():
    grammar, notes = listing("abcdefghij", "cf")
    assert "as declared, or the required ones first and then the others" in notes[0]
    assert admits(grammar, "<a,b,c,d,e,f,g,h,i,j>")
    assert admits(grammar, "<b,c,f,j>")
    assert admits(grammar, "<f,c,j,a,d>")
    assert not admits(grammar, "<j,f,c>")
    assert not admits(grammar, "<f,c,j,j>")
    assert not admits(grammar, "<f,a>")
    grammar, notes = listing("abcdefghijklm", "cf")
    assert notes[0].endswith("as declared, or the required ones first")
    assert admits(grammar, "<f,c,a,m>")
    assert not admits(grammar, "<f,c,m,a>")
    grammar, notes = listing("abcdefghi")
    assert notes[0].endswith("they stand as declared")
    assert admits(grammar, "<a,i>")
    assert not admits(grammar, "<i,a>")


def test_in_order():
    rules = Rules()
    pieces = tuple(Piece(rules.rule(literal(name)), name == "b") for name in "abc")
    rule = in_order(rules, Members(pieces, '"x"', comma='","'))
    grammar = xgrammar.Grammar.from_ebnf(rules.text(f'"<" {rule} ">"'))
    assert all(admits(grammar, f"<{text}>") for text in ("a,b,c", "b", "b,x,x"))
    assert not any(admits(grammar, f"<{text}>") for text in ("b,a", "a", "x,b"))
