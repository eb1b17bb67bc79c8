"""Small conversations that show how a template treats each part of one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall


def _tool(name: str, parameters: dict[str, Any] | None, **more: Any) -> Tool:
    inner = {"name": name, **more}
    if parameters is not None:
        inner["parameters"] = parameters
    return Tool({"type": "function", "function": inner})


_TOOL = _tool(
    "look_up",
    {
        "type": "object",
        "properties": {
            "key": {"type": "string"},
            "depth": {"type": "integer"},
            "exact": {"type": "boolean"},
        },
        "required": ["key"],
    },
    description="Looks something up.",
)
_NESTED = _tool(
    "store",
    {
        "type": "object",
        "properties": {
            "items": {
                "type": "array",
                "description": 'What to "store"\nin <this> order.',
                "items": {"type": "object", "properties": {"n": {"type": "number"}}},
            },
            "mode": {"type": "string", "enum": ["new", "old"], "default": "new"},
            "note": {"type": ["string", "null"], "description": "Größe"},
        },
        "required": ["items", "mode"],
        "additionalProperties": False,
    },
    description="Stores items.\nAll of them.",
)
_BARE = _tool("now", None, description="The time.")
_EMPTY = _tool("stop", {"type": "object", "properties": {}})


def conversations() -> list[Conversation]:
    """Plain and with tools, with and without a system prompt, thinking and parallel calls."""
    system = Message(Role.SYSTEM, " Be brief. ")
    ask = Message(Role.USER, "Where is it?\n")
    think = Message(Role.ASSISTANT, "Here.", thinking="It is here.")
    again = Message(Role.USER, "Look again.")
    call = ToolCall("look_up", {"key": 'a "b"\n', "depth": 2, "exact": True})
    calls = Message(Role.ASSISTANT, "", thinking="Look.", calls=(call,))
    both = Message(Role.ASSISTANT, "Two.", calls=(call, ToolCall("look_up", {"key": "é"})))
    result = Message(Role.TOOL, '{"found": true}', name="look_up")
    done = Message(Role.ASSISTANT, " Found it.\n")
    return [
        Conversation((ask,)),
        Conversation((system, ask, done)),
        Conversation((ask, think, again, done)),
        Conversation((system, ask, think, system, again, think)),
        Conversation((ask, calls, result, done, again, calls, result), (_TOOL,)),
        Conversation((system, ask, calls, result, done), (_TOOL, _TOOL)),
        Conversation((ask, both, result, result), (_TOOL,)),
    ]


def detecting() -> list[Conversation]:
    """The conversations above and many more: all branches of a template that rows can reach."""
    calling = _calling()
    return [*conversations(), *_plain(), *calling, *(with_given(conv) for conv in calling)]


def with_given(conv: Conversation) -> Conversation:
    """The same conversation with all arguments as JSON text, which some templates ask for."""
    return replace(conv, messages=tuple(_with_given(message) for message in conv.messages))


def with_content(conv: Conversation) -> Conversation:
    """The same conversation with empty texts in the place of null contents."""
    messages = (m if m.content is not None else replace(m, content="") for m in conv.messages)
    return replace(conv, messages=tuple(messages))


def _with_given(message: Message) -> Message:
    calls = tuple(replace(call, given=call.given or dump(call.arguments)) for call in message.calls)
    return replace(message, calls=calls)


def _plain() -> list[Conversation]:
    """Without calls: odd roles, odd white space, reasoning in the text, marks in the text."""
    system = Message(Role.SYSTEM, "Rule one.\n\nRule two.")
    ask = Message(Role.USER, "  Why? ")
    answer = Message(Role.ASSISTANT, "Because.")
    thought = Message(Role.ASSISTANT, "\n So. \n", thinking="\n Hm.\n\nYes. \n")
    tagged = Message(Role.ASSISTANT, "<think>\nInside.\n</think>\n\nOutside.")
    marked = Message(Role.USER, "<|im_end|> [INST] </think> {{ x }} <tool_response>\n<|eot_id|>")
    empty = Message(Role.SYSTEM, "")
    return [
        Conversation((system, ask)),
        Conversation((empty, ask, answer)),
        Conversation((system, ask, answer), (_NESTED, _BARE)),
        Conversation((ask,), (_NESTED, _EMPTY)),
        Conversation((ask, thought)),
        Conversation((ask, thought, ask, answer, ask, thought)),
        Conversation((ask, tagged)),
        Conversation((ask, tagged, ask, tagged)),
        Conversation((ask, answer, ask, thought, ask), (_TOOL,)),
        Conversation((marked, answer)),
        Conversation((system, system, ask, answer)),
        Conversation((ask, ask, answer, answer)),
        Conversation((answer, ask, answer)),
        Conversation((ask, answer, system)),
        Conversation((ask, Message(Role.ASSISTANT, ""))),
        Conversation((ask, Message(Role.ASSISTANT, "", thinking="Only."), ask)),
        Conversation((Message(Role.USER, ""), answer)),
        Conversation((ask, answer, Message(Role.TOOL, "late", name="look_up"), answer)),
    ]


def _calling() -> list[Conversation]:
    """With calls: ids, null contents, arguments of every type and as text, results of every
    shape, several steps and rounds."""
    system = Message(Role.SYSTEM, "Use tools.")
    ask = Message(Role.USER, "Do it.")
    values = {"items": [{"n": 1.5}, {}], "mode": "new", "note": None, "Größe": " x\ny ", "b": False}
    store = ToolCall("store", values, id="call00001")
    now = ToolCall("now", {}, id="call00002")
    given = ToolCall("look_up", {"key": "k"}, id="call00003", given='{"key":"k"}')
    nothing = Message(Role.ASSISTANT, None, calls=(store,))
    spoken = Message(Role.ASSISTANT, " I store. ", thinking=" Store\nit. ", calls=(store, now))
    stored = Message(Role.TOOL, "done\n", name="store", call_id="call00001")
    time = Message(Role.TOOL, ' {"time": [1, 2]}', name="now", call_id="call00002")
    error = Message(Role.TOOL, "", name="store", call_id="call00001")
    answer = Message(Role.ASSISTANT, "Done.", thinking="Finished.")
    many = (_NESTED, _BARE, _TOOL)
    nameless = replace(stored, name=None, call_id=None)
    return [
        Conversation((ask, nothing), many),
        Conversation((ask, nothing, stored), many),
        Conversation((system, ask, spoken, stored, time), many),
        Conversation((system, ask, spoken, time, stored, answer, ask), many),
        Conversation((ask, spoken, stored, time, spoken, error, time, answer), many),
        Conversation((ask, answer, ask, nothing, stored, answer, ask, nothing, stored), many),
        Conversation((ask, nothing, nameless, answer), many),
        Conversation((ask, nothing, stored, answer)),
        Conversation((ask, Message(Role.ASSISTANT, "", calls=(given,)), nameless), (_TOOL,)),
        Conversation((ask, Message(Role.ASSISTANT, "", calls=(now,)), time, answer), (_BARE,)),
        Conversation((ask, stored, answer), many),
        Conversation((ask, nothing, stored, ask, answer), many),
        Conversation((ask, nothing, answer), many),
    ]


def replies() -> list[Conversation]:
    """Conversations that end in a reply: text, thinking, one call, several, all of these."""
    ask = Message(Role.USER, "Where is it?")
    call = ToolCall("look_up", {"key": "a b", "depth": 2, "exact": True}, id="call00001")
    other = ToolCall("look_up", {"key": "12"}, id="call00002")
    text, thinking = "It is here.", "They ask where."
    return [
        Conversation((ask, Message(Role.ASSISTANT, text))),
        Conversation((ask, Message(Role.ASSISTANT, text, thinking=thinking))),
        Conversation((ask, Message(Role.ASSISTANT, text)), (_TOOL,)),
        Conversation((ask, Message(Role.ASSISTANT, "", calls=(call,))), (_TOOL,)),
        Conversation((ask, Message(Role.ASSISTANT, "", calls=(call, other))), (_TOOL,)),
        Conversation((ask, Message(Role.ASSISTANT, text, calls=(other,))), (_TOOL,)),
        Conversation((ask, Message(Role.ASSISTANT, "", thinking, (call,))), (_TOOL,)),
    ]
