"""Simulated worlds in processes of their own: conversations played in them, and what they cannot
do."""

import pytest

from tests.unit.eval.conftest import TALK
from toolgrove.core.messages import Reply, ToolCall
from toolgrove.eval.bfcl_turns import MOST_STEPS, calls_of, load_turns, written
from toolgrove.eval.gold import GoldSpeaker, gold_of_turns
from toolgrove.eval.play import play_alone
from toolgrove.eval.speakers import Said, unanswered
from toolgrove.eval.suites.bfcl import play_turns
from toolgrove.eval.worlds import World, WorldError, Worlds
from toolgrove.templates.dialect import dialect


@pytest.fixture
def worlds(wheel):
    made = Worlds(wheel, timeout_s=5)
    yield made
    made.close()


@pytest.fixture
def world(worlds) -> World:
    with worlds.open(TALK) as opened:
        yield opened


@pytest.fixture
def case(wheel):
    (found,) = load_turns(wheel, "multi_turn_base")
    return found


def played(case, worlds, answers):
    """The outcome, with answers from a list of calls (none: a text)."""
    play, sent = play_turns(case, worlds), iter(answers)
    asked = [next(play)]
    try:
        while True:
            calls = next(sent)
            asked.append(play.send(Said(Reply(None, "", tuple(calls)), "x", ended=True)))
    except StopIteration as end:
        return end.value, asked


def add(number: object) -> ToolCall:
    return ToolCall("add", {"number": number})


def test_calls_are_run_turn_by_turn_and_judged(case, worlds) -> None:
    found, asked = played(case, worlds, [[add(2), add(3)], [], [add(4)], []])
    assert found.right
    assert [message.content for message in asked[1].messages[-2:]] == ["12", "15"]
    assert asked[-1].messages[-1].content == "19"
    assert found.notes["turns"] == [[["add(number=2)", "add(number=3)"]], [["add(number=4)"]]]
    again, _ = played(case, worlds, [[add(2)], [], [add(3), add(4)], []])
    assert (again.right, again.reason, again.kind) == (False, "turn 0", "state")
    assert len(worlds._free) == 1  # the same process, with worlds made anew


def test_gold_goes_through_a_dialect(case, worlds) -> None:
    speaker = GoldSpeaker(dialect("chatml", "react_en"), gold_of_turns(case))
    found = play_alone(play_turns(case, worlds), speaker)
    assert found.right
    assert "Action: add" in found.texts[0]
    assert [written(call) for call in calls_of(case, 0)] == ["add(number=2)", "add(number=3)"]


def test_too_many_steps_end_the_conversation(case, worlds) -> None:
    found, asked = played(case, worlds, [[add(0)]] * 99)
    assert (found.right, found.kind) == (False, "multi_turn:force_terminated")
    assert len(asked) == MOST_STEPS + 1


def test_a_conversation_that_cannot_be_put_is_wrong(case, worlds) -> None:
    play = play_turns(case, worlds)
    next(play)
    with pytest.raises(StopIteration) as end:
        play.send(unanswered("too long"))
    assert (end.value.value.kind, end.value.value.reason) == ("fault", "too long")


@pytest.mark.parametrize(
    ("call", "wrong"),
    [
        ("connect()", "socket"),
        ("start()", "not allowed"),
        ("write(path='{home}/new.txt')", "writing"),
        ("read(path='/etc/passwd')", "reading"),
        ("read(path='{home}/secret.txt')", "reading"),
        ("grow()", ""),
        ("__import__('os').system('true')", "not a call of a function by its name"),
        ("open('/etc/passwd')", "name 'open' is not defined"),
        ("add(number=__import__('os').getpid())", "not a plain value"),
        ("add(number=1", "never closed"),
        ("_hidden()", "not defined"),
    ],
)
def test_a_world_can_do_nothing_else(world, tmp_path, call, wrong) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    (said,) = world.call([call.format(home=tmp_path)])
    assert said.startswith("Error during execution:")
    assert wrong in said
    assert not (tmp_path / "new.txt").exists()
    assert world.call(["add(number=1)"]) == ["11"]


@pytest.mark.parametrize("call", ["hang()", "die()"])
def test_a_world_that_hangs_or_dies_costs_its_case_only(case, wheel, call) -> None:
    worlds = Worlds(wheel, timeout_s=1)
    name = call.removesuffix("()")
    found, _ = played(case, worlds, [[ToolCall(name, {})]])
    assert (found.right, found.kind) == (False, "world")
    assert "within 1 s" in found.reason or "died" in found.reason
    found, _ = played(case, worlds, [[add(2), add(3)], [], [add(4)], []])
    assert found.right
    worlds.close()


def test_refused_calls_do_not_run_in_the_checker_either(case, worlds) -> None:
    bad = ToolCall("__import__('os')._exit", {})
    found, _ = played(case, worlds, [[bad, add(2), add(3)], [], [add(4)], []])
    assert found.right


def test_an_ended_world_is_told(wheel) -> None:
    world = World(wheel, 5)
    world.close()
    with pytest.raises(WorldError, match="ended"):
        world.begin(TALK)
