"""Free texts that share their rules admit what each of them admits by itself."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolgrove.templates.free_text import with_shared_texts
from toolgrove.templates.grammar import Opening, any_text, choice, constant, sequence, text_until

xgrammar = pytest.importorskip(
    "xgrammar", reason='needs xgrammar: pip install "toolgrove[grammar]"'
)
admits = pytest.importorskip("xgrammar.testing")._is_grammar_accept_string

APART = ["<think>", "</think>", "<call>", "<|end|>", "[CALL]"]
MEETING = ["aba", "bab", "ab ", "<a", "a<call>"]
MANY = [f"<{number}>" for number in range(12)]
MARKS = st.sampled_from([APART, [*APART, *MEETING], MEETING, [*APART, *MANY]])
PIECES = ["<", "think>", "</", "call>", "<|", "end|>", "[CA", "LL]", "a", "b", " ", "é", "7>", "\n"]
FEW = settings(max_examples=150, deadline=None)


def parsed(content):
    tag = {"type": "structural_tag", "format": with_shared_texts(content)}
    return xgrammar.Grammar.from_structural_tag(tag)


def drawn(data, marks):
    return "".join(data.draw(st.lists(st.sampled_from([*PIECES, *marks]), max_size=8)))


@given(data=st.data(), marks=MARKS)
@FEW
def test_a_text_holds_all_but_what_it_excludes(data, marks):
    some = st.lists(st.sampled_from(marks), min_size=1, max_size=12, unique=True)
    excluded = data.draw(st.lists(some, min_size=1, max_size=3))
    texts = [sequence(f"{n}:", any_text(each)) for n, each in enumerate(excluded)]
    grammar = parsed(choice(texts))
    for _ in range(4):
        text = drawn(data, marks)
        for n, each in enumerate(excluded):
            assert admits(grammar, f"{n}:{text}") is not any(mark in text for mark in each)


@given(data=st.data(), marks=MARKS)
@FEW
def test_a_text_ends_at_its_first_mark(data, marks):
    picked = data.draw(st.lists(st.sampled_from(marks), min_size=2, max_size=5, unique=True))
    openings, never = picked[:2], picked[2:]
    content = text_until([Opening(mark, constant("!")) for mark in openings], never)
    thought = sequence(any_text(["</think>"]), "</think>")
    grammar = parsed(sequence(thought, content))
    for _ in range(4):
        text = drawn(data, marks) + data.draw(
            st.sampled_from(["", "!", *(f"{o}!" for o in openings)])
        )
        found = [(text.find(m) + len(m), m) for m in picked if m in text]
        end, first = min(found, default=(0, ""))
        if sum(one == end for one, _ in found) > 1:
            continue  # one mark ends where another does, which formats do not have
        expected = not found or (first in openings and text[end:] == "!")
        assert admits(grammar, f"hm</think>{text}") is expected, (text, openings, never)
