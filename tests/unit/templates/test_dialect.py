"""What dialects say when something does not fit, and what they leave out."""

import re
from datetime import date

import pytest

import toolgrove as tg
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.core.spans import text_of
from toolgrove.templates.base import chat_registry

TOOL = Tool({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}})
CALL = ToolCall("f", {"a": 1})
ASK = Message(Role.USER, "Do it.")
TALK = Conversation(
    (ASK, Message(Role.ASSISTANT, "", calls=(CALL,)), Message(Role.TOOL, "ok")), (TOOL,)
)


def test_an_unknown_name_or_option_tells_the_nearest():
    with pytest.raises(TemplateError) as error:
        tg.dialect("qwen33")
    assert 'did you mean "qwen3"?' in str(error.value)
    with pytest.raises(TemplateError) as error:
        tg.dialect("qwen3", agent="hermse")
    assert 'did you mean "hermes"?' in str(error.value)
    with pytest.raises(TemplateError) as error:
        tg.dialect("qwen3", options={"enable_thinkin": True})
    assert 'did you mean "enable_thinking"?' in str(error.value)


def test_makers_templates_name_what_they_leave_out():
    lost = tg.dialect("smollm2").losses(TALK)
    assert any("tools are not shown" in what for what in lost)
    assert any("calls are not written" in what for what in lost)
    assert tg.dialect("smollm2", agent="hermes").losses(TALK) == []
    assert tg.dialect("qwen3").losses(TALK) == []


def test_llama_3_1_refuses_parallel_calls_only_in_its_makers_form():
    both = Message(Role.ASSISTANT, "", calls=(CALL, CALL))
    conv = Conversation((ASK, both), (TOOL,))
    with pytest.raises(TemplateError, match="one call a turn"):
        tg.dialect("llama3_1").text(conv)
    assert tg.dialect("llama3_1").losses(conv)
    assert tg.dialect("llama3_1", agent="llama3").text(conv).count('"parameters": {"a": 1}') == 2


def test_reasoning_that_a_closed_block_keeps_out_is_a_loss():
    conv = Conversation((ASK, Message(Role.ASSISTANT, "Yes.", thinking="Hm.")))
    closed = tg.dialect("qwen3", options={"enable_thinking": False})
    assert closed.losses(conv) == ["messages[1] (assistant): its thinking is not written"]
    assert tg.dialect("qwen3").losses(conv) == []
    assert tg.dialect("qwen2_5").losses(conv) != []
    assert tg.dialect("qwen2_5", agent="hermes").losses(conv) == []


def test_values_that_would_not_read_back_are_refused():
    d = tg.dialect("chatml", agent="react_en")
    bad_name = Conversation((ASK, Message(Role.ASSISTANT, "", calls=(ToolCall("a\nb", {}),))))
    with pytest.raises(TemplateError, match="would not read back"):
        d.text(Conversation(bad_name.messages, (TOOL,)))
    infinite = Message(Role.ASSISTANT, "", calls=(ToolCall("f", {"a": float("inf")}),))
    with pytest.raises(TemplateError, match="JSON cannot carry"):
        tg.dialect("qwen3", agent="hermes").text(Conversation((ASK, infinite), (TOOL,)))


def test_the_rows_own_system_prompt_is_kept_before_the_tools():
    conv = Conversation((Message(Role.SYSTEM, "Be kind."), *TALK.messages), TALK.tools)
    for agent in tg.agent_templates():
        text = tg.dialect("chatml", agent=agent).text(conv)
        assert "Be kind." in text
        if agent in ("agentfabric", "qwen3_5", "qwen3_6"):  # they have a place for it after
            continue
        assert text.index("Be kind.") < re.search(r"\bf\b", text).start()


def test_today_is_a_parameter():
    d = tg.dialect("llama3_2", today=date(2026, 1, 15))
    assert "Today Date: 15 Jan 2026" in d.text(Conversation((ASK,)))


@pytest.mark.parametrize(
    ("text", "calls"),
    [
        ('<tool_call>\n{"name": "f", "arguments": {"a": 1}\n</tool_call>', [CALL]),
        ("<tool_call>{'name': 'f', 'arguments': {'a': 1}}</tool_call>", [CALL]),
        ('<tool_call>{"name": "f", "arguments": "{\\"a\\": 1}"}</tool_call>', [CALL]),
        ('<tool_call>{"name": "f", "arguments": {"a": 1,}}</tool_call>', [CALL]),
        ('<tool_call>{"name": "f", "arguments": {"a": 1}}', [CALL]),
        ('<tool_call>{"name": "f", "arguments": [1]}</tool_call>', []),
        ('<tool_call>{"arguments": {"a": 1}}</tool_call>', []),
        ("<tool_call>nothing</tool_call>", []),
    ],
)
def test_slips_of_models_are_mended_and_the_unreadable_stays_text(text, calls):
    reply = tg.dialect("qwen3").read(text, tools=(TOOL,))
    assert list(reply.calls) == calls
    assert reply.content == ("" if calls else text)


def test_a_cut_off_reply_is_not_complete():
    d = tg.dialect("qwen3")
    assert not d.read("<think>\nI was", tools=(TOOL,)).complete
    assert not d.read('<tool_call>\n{"name": "f", "argu', tools=(TOOL,)).complete
    assert d.read("Done.<|im_end|>\n", tools=(TOOL,)).content == "Done."
    opened = d.read("hm\n</think>\n\nDone.", tools=(TOOL,), prompt="...<think>\n")
    assert (opened.thinking, opened.content) == ("hm", "Done.")


def test_fingerprints_tell_dialects_apart():
    prints: dict[str, str] = {}
    alike = {"deepseek_v4_flash_0731"}  # differs from deepseek_v4 under an option only
    for name in set(tg.chat_templates()) - alike:
        found = tg.dialect(name, today=date(2026, 1, 15)).fingerprint()
        same = repr(chat_registry.get(name))
        assert prints.setdefault(same, found) == found
    assert len(set(prints.values())) == len(prints)


@pytest.mark.parametrize("agent", tg.agent_templates())
def test_the_mark_that_hands_over_to_the_tools_is_no_text(agent: str) -> None:
    dialect = tg.dialect("chatml", agent=agent)
    written = text_of(dialect.turns(TALK)[0].completion)
    for end in range(len(written) + 1):
        reader = dialect.reader(TALK.tools)
        reader.feed(written[:end])
        reader.feed(written[end:])
        reply = reader.finish()
        assert (reply.content, [call.name for call in reply.calls]) == ("", ["f"])
