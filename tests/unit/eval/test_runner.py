"""A run from its tasks to its files: scripted engines, resumed runs, threads, refusals."""

import json
import shutil
import threading
from datetime import date

import pytest

from toolgrove.core.errors import EvalError, ModelError, TemplateError
from toolgrove.core.messages import Conversation, Message, Reply, Role
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.engine.scripted import ScriptedEngine
from toolgrove.eval.bfcl import load_checker
from toolgrove.eval.journal import Journal, read_journal
from toolgrove.eval.play import in_batches, in_threads
from toolgrove.eval.runner import Subject, run_eval
from toolgrove.eval.settings import EvalSettings
from toolgrove.eval.speakers import EngineSpeaker, Said, unanswered
from toolgrove.eval.suites.bfcl import Bfcl, chosen_categories, play_case
from toolgrove.models.tiny import tiny_tokenizer
from toolgrove.templates.dialect import dialect
from toolgrove.templates.spoken import spoken

CALL = (
    '<tool_call>\n{"name": "geometry.area", "arguments": {"width": 3, "height": 4}}\n</tool_call>'
)


@pytest.fixture
def speaker(tmp_path) -> EngineSpeaker:
    tok = load_tokenizer(tiny_tokenizer(tmp_path / "tok"))

    def script(prompt: str) -> str:
        return f"{CALL}<|im_end|>" if "3 by 4" in prompt else "The area is 30.<|im_end|>"

    return EngineSpeaker(ScriptedEngine(script, tok), dialect("chatml", agent="hermes"), tok)


@pytest.fixture
def settings(wheel, tmp_path, monkeypatch) -> EvalSettings:
    monkeypatch.setattr("toolgrove.eval.suites.bfcl.wheel", lambda: wheel)
    return EvalSettings(model="scripted", categories=["simple_python"], output_dir=tmp_path / "out")


def subject(speaker, identity: str = "a") -> Subject:
    return Subject("scripted", "chatml + hermes", {"model": identity}, lambda: speaker)


def played(case, wheel, speaker):
    return next(iter(in_batches([play_case(case, load_checker(wheel))], speaker, 4)))[0]


def test_a_run_leaves_cases_report_and_page(settings, speaker) -> None:
    report = run_eval(settings, subject=subject(speaker))
    right, wrong = sorted(report.outcomes, key=lambda outcome: -outcome.marks["right"])
    assert (right.right, wrong.right) == (True, False)
    assert (wrong.reason, wrong.marks["format"]) == ("no readable call", 0.0)
    assert report.score("simple_python")["right"].value == 0.5
    measured, kept = read_journal(settings.output_dir / "cases.jsonl")
    assert measured == {"model": "a"}
    assert {outcome.key for outcome in kept} == {outcome.key for outcome in report.outcomes}
    written = json.loads((settings.output_dir / "report.json").read_text())
    assert written["scores"][0]["right"]["share"] == 0.5
    assert "no readable call" in (settings.output_dir / "report.html").read_text()


def test_finished_cases_are_not_asked_again(settings, speaker) -> None:
    first = run_eval(settings, subject=subject(speaker))
    again = run_eval(settings, subject=subject(None))  # nobody to ask
    assert again.outcomes == first.outcomes
    with pytest.raises(AttributeError):
        run_eval(settings, subject=subject(None, identity="b"))


def test_ctrl_c_keeps_what_has_ended(settings, speaker, caplog) -> None:
    class Stopped:
        """Answers once; the second time the user has had enough."""

        asked = 0

        def answer(self, asked):
            if Stopped.asked:
                raise KeyboardInterrupt
            Stopped.asked = 1
            return speaker.answer(asked)

    one_by_one = settings.model_copy(update={"batch_size": 1})
    with pytest.raises(KeyboardInterrupt):
        run_eval(one_by_one, subject=subject(Stopped()))
    assert "1 cases are left" in caplog.text
    _, kept = read_journal(settings.output_dir / "cases.jsonl")
    assert len(kept) == 1
    report = run_eval(one_by_one, subject=subject(speaker))
    assert len(report.outcomes) == 2
    assert len(speaker.engine.asked) == 2


def test_a_line_that_was_cut_short_is_written_anew(outcome_of, tmp_path) -> None:
    file = tmp_path / "cases.jsonl"
    first, second = outcome_of("é\ud800\u2028", True), outcome_of("b", False)
    with Journal(file, {"model": "a"}) as journal:
        journal.add([first])
        journal.add([second])
    whole = file.read_bytes()
    file.write_bytes(whole[:-20])
    journal = Journal(file, {"model": "a"})
    assert journal.kept == [first]
    with journal:
        journal.add([second])
    assert file.read_bytes() == whole
    assert Journal(file, {"model": "b"}).kept == []
    file.write_text("{}\n[1]\n")
    with pytest.raises(EvalError, match="not a case"):
        Journal(file, {})


def test_a_reply_that_is_cut_off_is_right_for_the_benchmark_only(speaker, wheel, cases) -> None:
    engine = ScriptedEngine([CALL + "and on and on"], speaker.tok)
    short = EngineSpeaker(engine, speaker.dialect, speaker.tok, len(speaker.tok.encode(CALL)) + 1)
    found = played(cases[0], wheel, short)
    assert found.marks == {"right": 1.0, "format": 0.0, "function": 0.0, "arguments": 0.0}


def test_what_cannot_be_asked_is_a_wrong_case(speaker, wheel, cases) -> None:
    small = EngineSpeaker(speaker.engine, speaker.dialect, speaker.tok, context=50)
    found = played(cases[0], wheel, small)
    assert found.kind == "fault"
    assert "the context is 50" in found.reason
    assert speaker.engine.asked == []


def test_strict_replies_are_held_to_the_tools_of_each_case(speaker, cases) -> None:
    speaker.answer([cases[0].conversation])
    assert speaker.engine.held_to == []
    engine = ScriptedEngine([CALL, "Hello."], speaker.tok)
    strict = EngineSpeaker(engine, speaker.dialect, speaker.tok, strict=True)
    strict.answer([cases[0].conversation, Conversation((Message(Role.USER, "Hi"),))])
    assert engine.held_to == [speaker.dialect.grammar(cases[0].conversation.tools), None]


class Parrot:
    """Answers with what was said last; in which threads is kept."""

    def __init__(self) -> None:
        self.threads: set[int] = set()

    def answer(self, asked):
        self.threads.add(threading.get_ident())
        return [Said(Reply(None, conv.messages[-1].text), "", ended=True) for conv in asked]


def talk(number: int, closed: list[int], outcome_of):
    try:
        text = str(number)
        for _ in range(number % 4):
            said = yield Conversation((Message(Role.USER, text),))
            text = said.reply.content + "!"
        return outcome_of(text, True)
    finally:
        closed.append(number)


@pytest.mark.parametrize("play", [in_batches, in_threads])
def test_every_case_is_played_to_its_end(play, outcome_of) -> None:
    closed: list[int] = []
    plays = (talk(number, closed, outcome_of) for number in range(50))
    found = [outcome.name for round_ in play(plays, Parrot(), 5) for outcome in round_]
    assert sorted(found) == sorted(f"{n}{'!' * (n % 4)}" for n in range(50))
    assert sorted(closed) == list(range(50))


def test_an_error_in_a_thread_ends_the_run(outcome_of) -> None:
    class Broken:
        def answer(self, asked):
            raise ModelError("gone")

    closed: list[int] = []
    plays = (talk(1, closed, outcome_of) for _ in range(50))
    with pytest.raises(ModelError, match="gone"):
        list(in_threads(plays, Broken(), 3))
    assert len(closed) <= 3


@pytest.mark.parametrize("spec", ["simple_python#", "simple_python#0", "simple_python#x"])
def test_counts_of_cases_are_numbers(spec) -> None:
    with pytest.raises(EvalError, match="number"):
        chosen_categories([spec])


def test_categories_and_groups_of_them(wheel, monkeypatch) -> None:
    monkeypatch.setattr("toolgrove.eval.suites.bfcl.wheel", lambda: wheel)
    specs = ["simple_python#1", "exec_simple", "multi_turn_base"]
    suite = Bfcl(EvalSettings(model="m", categories=specs))
    assert [task.category for task in suite.tasks] == [
        "simple_python",
        "exec_simple",
        "multi_turn_base",
    ]
    chosen = {one.category: one.count for one in chosen_categories(["all#3", "live_simple#9"])}
    assert len(chosen) == 17
    assert (chosen["simple_java"], chosen["live_simple"]) == (3, 9)
    with pytest.raises(EvalError, match='did you mean "live_relevance"'):
        chosen_categories(["live_relevanse"])


def test_a_model_that_shows_no_tools_is_refused(tmp_path, wheel, monkeypatch) -> None:
    monkeypatch.setattr("toolgrove.eval.suites.bfcl.wheel", lambda: wheel)
    folder = tmp_path / "model"
    tiny_tokenizer(folder)
    (folder / "config.json").write_text("{}")
    given = {"template": "smollm2", "categories": ["simple_python"]}
    settings = EvalSettings(model=str(folder), output_dir=tmp_path / "out", **given)
    with pytest.raises(TemplateError, match="loses"):
        run_eval(settings)


def test_a_server_has_its_own_dialect(tmp_path) -> None:
    with pytest.raises(EvalError, match="agent_template"):
        run_eval(EvalSettings(url="http://localhost:1", agent_template="hermes"))
    with pytest.raises(EvalError, match="nothing to measure"):
        run_eval(EvalSettings(output_dir=tmp_path))


def test_no_answer_has_no_calls() -> None:
    assert unanswered("why").reply.calls == ()


def test_a_model_on_this_machine_is_measured(llama, tmp_path) -> None:
    settings = EvalSettings(
        model=str(llama),
        template="chatml",
        agent_template="hermes",
        suite=["behaviour"],
        limit=1,
        max_new_tokens=3,
        output_dir=tmp_path / "out",
    )
    report = run_eval(settings)
    assert len(report.outcomes) == 7
    assert report.score("total")["right"].value == 0.0
    assert all(outcome.reason for outcome in report.outcomes)
    again = run_eval(settings.model_copy(update={"limit": 2}))
    assert [o for o in again.outcomes if o in report.outcomes] == report.outcomes


def test_a_trained_model_is_spoken_to_as_it_was_trained(llama, tmp_path):
    folder = tmp_path / "tuned"
    shutil.copytree(llama, folder)
    trained = dialect("chatml", agent="react_zh", today=date(2026, 1, 15))
    (folder / "dialect.json").write_text(json.dumps(spoken(trained)))
    settings = EvalSettings(model=str(folder), suite=["behaviour"], limit=1, max_new_tokens=2)
    told = settings.model_copy(update={"template": "chatml", "agent_template": "hermes"})
    for given, agent in ((settings, "react_zh"), (told, "hermes")):
        given = given.model_copy(update={"output_dir": tmp_path / agent})
        assert run_eval(given).dialect.startswith(f"chatml + {agent} (")
