"""The loop: think, call, observe, until there is an answer or a reason to stop."""

from __future__ import annotations

import json
import threading
import time

import pytest

from toolgrove.agent.events import Calling, Ended, Over, Returned, Said
from toolgrove.agent.functions import Functions, reads_only
from toolgrove.agent.permission import Answer, Permission
from toolgrove.agent.session import RUNS, Limits, Session
from toolgrove.agent.tools import CallError, Toolbox
from toolgrove.core.messages import Conversation, Message, Reply, Role, ToolCall
from toolgrove.data.formats import conversation
from toolgrove.templates.dialect import dialect

DIALECTS = [
    ("chatml", "hermes"),
    ("chatml", "react_en"),
    ("chatml", "agentfabric"),
    ("llama3_2", None),
    ("qwen3", None),
    ("deepseek_v3_1", "deepseek_v3_1"),
    ("kimi_k2", None),
    ("glm4_5", None),
    ("qwen3_coder", None),
    ("mistral_nemo", None),
]


@reads_only
def weather(city: str, days: int = 1) -> str:
    """Tells the weather.

    Args:
        city: the city's name
    """
    return f"{city}: {11 + days} degrees"


@reads_only
def clock(city: str) -> dict:
    """Tells the time."""
    return {"city": city, "time": "12:00"}


def call(name: str, **arguments) -> str:
    return f"<tool_call>\n{json.dumps({'name': name, 'arguments': arguments})}\n</tool_call>"


def agent(model, *functions, **options) -> Session:
    return Session(model, Toolbox([Functions(functions or (weather, clock))]), **options)


def over(events) -> Over:
    told = list(events)
    assert [isinstance(event, Over) for event in told].index(True) == len(told) - 1
    return told[-1]


def results(session: Session) -> list[str]:
    return [m.text for m in session.conversation.messages if m.role is Role.TOOL]


def as_said(spoken, conv: Conversation, reply: Reply) -> str:
    """What a model says that means this reply."""
    message = Message(Role.ASSISTANT, reply.content, reply.thinking, reply.calls)
    talk = Conversation((*conv.messages, message), conv.tools)
    return "".join(span.text for span in spoken.turns(talk, stopped=True)[-1].completion)


@pytest.mark.parametrize(("chat", "name"), DIALECTS)
def test_a_conversation_with_two_calls_in_any_dialect(scripted, chat, name) -> None:
    """What the agent is told of a call and its result is what training writes for them."""
    spoken = dialect(chat, agent=name)
    tools = Functions((weather, clock)).tools
    talk = Conversation(
        (Message(Role.USER, "Weather and time in Ulm?"),), tuple(t.tool for t in tools)
    )
    steps = [
        Reply(None, "", (ToolCall("weather", {"city": "Ulm"}, id="call00000"),)),
        Reply(None, "", (ToolCall("clock", {"city": "Ulm"}, id="call00001"),)),
        Reply(None, "12 degrees at noon."),
    ]
    found = ["Ulm: 12 degrees", '{"city": "Ulm", "time": "12:00"}']
    replies = []
    for step, result in zip(steps, [*found, None], strict=True):
        replies.append(as_said(spoken, talk, step))
        said = Message(Role.ASSISTANT, step.content, None, step.calls)
        back = [Message(Role.TOOL, result, name=c.name, call_id=c.id) for c in step.calls]
        talk = Conversation((*talk.messages, said, *back), talk.tools)
    model = scripted(replies, chat, name)
    session = agent(model)
    assert over(session.ask("Weather and time in Ulm?")).ended is Ended.ANSWER
    kept = session.conversation
    assert [_plain(message) for message in kept.messages] == [_plain(m) for m in talk.messages]
    asked = [model.tokenizer.decode(list(ids)) for ids in model.engine.asked]
    assert asked == [spoken.prompt(kept.until(count)) for count in (1, 3, 5)]
    assert conversation(session.transcript()).messages == kept.messages


def _plain(message: Message) -> tuple:
    return message.role, message.content, message.calls, message.name


def test_parallel_calls_run_at_once_and_results_keep_their_order(scripted) -> None:
    both = threading.Barrier(2, timeout=5)

    def slow(city: str) -> str:
        both.wait()
        time.sleep(0.1)
        return f"slow {city}"

    def fast(city: str) -> str:
        both.wait()
        return f"fast {city}"

    replies = [call("slow", city="A") + "\n" + call("fast", city="B"), "Done."]
    session = agent(scripted(replies), slow, fast)
    told = list(session.ask("Go"))
    assert [type(event) for event in told if isinstance(event, Calling | Returned)] == [
        Calling,
        Calling,
        Returned,
        Returned,
    ]
    assert [event.index for event in told if isinstance(event, Returned)] == [1, 0]
    assert results(session) == ["slow A", "fast B"]


def test_what_a_model_gets_wrong_is_told_to_it(scripted) -> None:
    def fails(city: str) -> str:
        raise KeyError(city)

    def refuses() -> str:
        raise CallError("closed on Sundays")

    replies = [
        call("weathr", city="Ulm"),
        call("weather", town="Ulm"),
        call("weather", city="Ulm", days="two"),
        call("fails", city="Ulm"),
        call("refuses"),
        "I cannot.",
    ]
    session = agent(scripted(replies), weather, fails, refuses)
    assert over(session.ask("Weather?")).ended is Ended.ANSWER
    unknown, missing, mistyped, raised, refused = results(session)
    assert 'there is no tool "weathr"; did you mean "weather"?' in unknown
    assert '"city" is a required property' in missing
    assert "days" in mistyped
    assert "integer" in mistyped
    assert raised == "error: KeyError: 'Ulm'"
    assert refused == "error: closed on Sundays"
    assert session.works[0].errors == 5


def test_the_same_call_again_and_again_is_warned_of_and_ended(scripted) -> None:
    replies = [call("weather", city="Ulm")] * 9
    session = agent(scripted(replies))
    end = over(session.ask("Weather?"))
    assert end.ended is Ended.REPEATED
    assert [text.startswith("error: ") for text in results(session)] == [False] * 3 + [True] * 2
    assert "answer with it" in results(session)[3]


def test_waiting_for_something_is_no_repetition(scripted) -> None:
    seen = iter(range(100))

    def status() -> str:
        return f"{next(seen)} %"

    session = agent(scripted([call("status")] * 8 + ["Done."]), status)
    assert over(session.ask("Wait")).ended is Ended.ANSWER
    assert len(results(session)) == 8


@pytest.mark.parametrize(
    ("limits", "ended"),
    [
        (Limits(steps=2), Ended.STEPS),
        (Limits(tokens=60), Ended.TOKENS),
        (Limits(seconds=0.3), Ended.TIME),
    ],
)
def test_a_model_that_never_stops_calling(scripted, limits, ended) -> None:
    def wait(number: int) -> int:
        time.sleep(0.1)
        return number

    session = agent(scripted([call("wait", number=n) for n in range(50)]), wait, limits=limits)
    assert over(session.ask("Go")).ended in (ended, Ended.LENGTH)
    assert len(results(session)) == sum(len(m.calls) for m in session.conversation.messages)


def test_a_tool_that_hangs_is_given_up(scripted) -> None:
    released = threading.Event()

    def hang() -> str:
        released.wait(30)
        return "late"

    begin = time.monotonic()
    session = agent(scripted([call("hang"), "No luck."]), hang, limits=Limits(call_s=0.1))
    assert over(session.ask("Go")).ended is Ended.ANSWER
    released.set()
    assert time.monotonic() - begin < 10
    assert "the call was given up" in results(session)[0]


def test_side_effects_need_a_word(scripted) -> None:
    ran: list[int] = []

    def delete(number: int) -> str:
        ran.append(number)
        return "gone"

    def answers(tool, _call):
        return asked.pop(0)

    asked = [Answer.NO, Answer.ONCE, Answer.ALWAYS]
    replies = [call("delete", number=n) for n in range(4)] + ["Done."]
    session = agent(scripted(replies), delete, permission=Permission((), answers))
    list(session.ask("Go"))
    assert ran == [1, 2, 3]
    assert "does not want" in results(session)[0]
    nobody = agent(
        scripted([call("delete", number=9), call("weather", city="Ulm"), "No."]),
        delete,
        weather,
        permission=Permission(),
    )
    list(nobody.ask("Go"))
    assert ran == [1, 2, 3]
    assert "permission denied" in results(nobody)[0]
    assert results(nobody)[1] == "Ulm: 12 degrees"
    allowed = agent(
        scripted([call("delete", number=4), "Done."]), delete, permission=Permission(["python/d*"])
    )
    list(allowed.ask("Go"))
    assert ran == [1, 2, 3, 4]


def test_ctrl_c_at_each_stage_keeps_what_was_said(scripted) -> None:
    """In the middle of a reply, in a tool, in the question of permission."""

    def interrupted(_prompt):
        raise KeyboardInterrupt

    session = agent(scripted([call("weather", city="Ulm"), interrupted]))
    assert over(session.ask("Weather?")).ended is Ended.INTERRUPTED
    roles = [m.role for m in session.conversation.messages]
    assert roles == [Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT]

    def asks(_tool, _call):
        raise KeyboardInterrupt

    def delete() -> str:
        return "gone"

    stopped = agent(
        scripted([call("delete"), "On with it."]), delete, permission=Permission((), asks)
    )
    assert over(stopped.ask("Delete it")).ended is Ended.INTERRUPTED
    assert results(stopped) == ["error: not run: the work was stopped before"]
    assert over(stopped.ask("Then not")).ended is Ended.ANSWER
    row = json.loads(json.dumps(stopped.transcript()))
    assert [run["ended"] for run in row[RUNS]] == ["interrupted", "answer"]
    assert conversation(row).messages == stopped.conversation.messages


def test_a_listener_that_leaves_ends_the_work_and_what_was_heard_is_kept(scripted) -> None:
    session = agent(scripted(["A long answer that nobody reads to its end."]))
    events = session.ask("Talk")
    heard = next(events)
    events.close()
    assert session.conversation.messages[-1].content.startswith(heard.text)
    assert session.works[0].over == Over(Ended.INTERRUPTED)


def test_a_broken_call_and_a_reply_without_end_are_told_apart(scripted) -> None:
    broken = agent(scripted(['<tool_call>\n{"name": "weather", "arg']))
    assert over(broken.ask("Weather?")).ended is Ended.UNREADABLE
    long = agent(scripted(["word " * 3000]))
    assert over(long.ask("Talk")).ended is Ended.LENGTH


def test_calls_held_to_schemas_while_they_are_generated(scripted) -> None:
    model = scripted([call("weather", city="Ulm"), "12."], strict=True)
    list(agent(model).ask("Weather?"))
    assert all(held and held["type"] == "structural_tag" for held in model.engine.held_to)


def test_the_end_of_a_reply_is_told_with_its_tokens(scripted) -> None:
    session = agent(scripted(["Hi."]))
    said = [event for event in session.ask("Hello") if isinstance(event, Said)]
    assert said[0].text == "Hi."
    assert said[0].tokens == session.works[0].tokens > 0
    assert said[0].prompt_tokens > 10
