"""Asking a scripted engine, and keeping its answers on disk."""

import json

import pytest

from toolgrove.core.errors import EvalError
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.engine.scripted import ScriptedEngine
from toolgrove.eval.asking import Subject, ask, dialect_name
from toolgrove.eval.bfcl import load_checker
from toolgrove.eval.runner import EvalSettings, chosen_cases
from toolgrove.eval.store import Store
from toolgrove.models.tiny import tiny_tokenizer
from toolgrove.templates.dialect import dialect

CALL = (
    '<tool_call>\n{"name": "geometry.area", "arguments": {"width": 3, "height": 4}}\n</tool_call>'
)


@pytest.fixture
def subject(tmp_path) -> Subject:
    tok = load_tokenizer(tiny_tokenizer(tmp_path / "tok"))
    script = [f"{CALL}<|im_end|>", "The area is 30.<|im_end|>"]
    return Subject(ScriptedEngine(script, tok), dialect("chatml", agent="hermes"), tok)


def test_replies_are_read_and_judged(subject, wheel, cases) -> None:
    right, talk = ask(subject, load_checker(wheel), cases, 512)
    assert (right.format, right.function, right.arguments) == (True, True, True)
    assert '"name": "geometry.area"' in right.prompt
    assert (talk.format, talk.verdict.reason) == (False, "no readable call")
    assert "chatml + hermes" in dialect_name(subject.dialect)


def test_a_reply_that_is_cut_off_is_badly_formed(subject, wheel, cases) -> None:
    (found,) = ask(subject, load_checker(wheel), cases[:1], 5)
    assert not found.format
    assert "cut off" in found.verdict.reason


def test_the_store_gives_back_what_it_got(subject, wheel, cases, tmp_path) -> None:
    results = list(ask(subject, load_checker(wheel), cases, 512))
    file = tmp_path / "out" / "cases.jsonl"
    Store(file, {"model": "a"}).add(results[:1])
    Store(file, {"model": "a"}).add(results[1:])
    kept = Store(file, {"model": "a"}).kept(cases)
    assert list(kept.values()) == results
    assert Store(file, {"model": "b"}).kept(cases) == {}
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines[1]["reply"] == CALL


def test_a_broken_store_is_told(cases, tmp_path) -> None:
    file = tmp_path / "cases.jsonl"
    file.write_text("{\n")
    with pytest.raises(EvalError, match="not JSON"):
        Store(file, {}).kept(cases)


@pytest.mark.parametrize("spec", ["simple_python#", "simple_python#0", "simple_python#x"])
def test_counts_of_cases_are_numbers(spec, wheel) -> None:
    with pytest.raises(EvalError, match="number"):
        chosen_cases(EvalSettings(model="m", categories=[spec]), wheel)


def test_cases_of_several_categories(wheel) -> None:
    settings = EvalSettings(model="m", categories=["simple_python#1", "exec_simple"])
    assert len(chosen_cases(settings, wheel)) == 2


def test_a_strict_subject_is_held_to_the_tools_of_each_case(subject, wheel, cases) -> None:
    list(ask(subject, load_checker(wheel), cases, 512))
    assert subject.engine.held_to == []
    engine = ScriptedEngine([CALL, "Hello."], subject.tok)
    strict = Subject(engine, subject.dialect, subject.tok, strict=True)
    list(ask(strict, load_checker(wheel), cases, 512))
    assert engine.held_to == [subject.dialect.grammar(case.conversation.tools) for case in cases]
