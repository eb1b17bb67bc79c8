"""Hy3, Ling 3, MiniCPM 5, Spark 2.5, Seed-OSS, Xing 4.0, Youtu-LLM and Hunyuan: their own rules."""

from datetime import date

import pytest

import toolgrove as tg
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.core.spans import text_of

TODAY = date(2026, 1, 15)
TOOL = Tool(
    {
        "type": "function",
        "function": {
            "name": "look_up",
            "description": "Looks up.",
            "parameters": {
                "type": "object",
                "properties": {"key": {"type": "string"}, "depth": {"type": "integer"}},
                "required": ["key"],
            },
        },
    }
)
TAGGED = ["hy_v3", "hy_v3_preview", "ling3", "minicpm5", "seed_oss", "spark2_5", "xing4_0"]
USER = Message(Role.USER, "Which?")


def talk(*messages, tools=(TOOL,)):
    return Conversation((USER, *messages), tuple(tools))


def asking(*calls, text="", thinking=None):
    return Message(Role.ASSISTANT, text, thinking=thinking, calls=calls)


def completion(d, conv):
    return text_of(d.turns(conv)[-1].completion)


@pytest.mark.parametrize("agent", TAGGED)
def test_types_come_from_the_tools_schema(agent):
    d = tg.dialect("chatml", agent=agent)
    call = ToolCall("look_up", {"key": "12", "depth": 3})
    text = completion(d, talk(asking(call)))
    assert d.read(text, tools=[TOOL]).calls == (call,)
    assert d.read(text).calls == (ToolCall("look_up", {"key": 12, "depth": 3}),)


@pytest.mark.parametrize("agent", TAGGED)
def test_a_string_that_would_come_back_as_a_number_is_refused_without_a_schema(agent):
    d = tg.dialect("chatml", agent=agent)
    with pytest.raises(TemplateError, match="'key'") as caught:
        d.text(talk(asking(ToolCall("other", {"key": "12"}))))
    assert caught.value.hint


@pytest.mark.parametrize("agent", TAGGED)
def test_an_end_tag_inside_a_value_stays_in_it(agent):
    d = tg.dialect("chatml", agent=agent)
    form = d.agent.form
    call = ToolCall("look_up", {"key": f"a {form.ended.strip()} b\n{form.closes[0]}"})
    assert d.read(completion(d, talk(asking(call))), tools=[TOOL]).calls == (call,)


@pytest.mark.parametrize("agent", TAGGED)
def test_what_would_end_a_value_is_refused(agent):
    d = tg.dialect("chatml", agent=agent)
    form = d.agent.form
    end = form.ended.strip() + form.closes[0]
    end = f"]]>{end}" if form.cdata else end
    with pytest.raises(TemplateError):
        d.text(talk(asking(ToolCall("look_up", {"key": f"a{end}b"}))))


@pytest.mark.parametrize("agent", TAGGED)
def test_missing_ends_and_cut_off_arguments(agent):
    d = tg.dialect("chatml", agent=agent)
    form = d.agent.form
    text = completion(d, talk(asking(ToolCall("look_up", {"key": "x", "depth": 3}))))
    ended = form.ended.strip()
    after_both = text.rindex(ended) + len(ended)
    whole = d.read(text[:after_both], tools=[TOOL])
    assert whole.calls == (ToolCall("look_up", {"key": "x", "depth": 3}),)
    inside = d.read(text[: text.rindex(ended)], tools=[TOOL])
    assert inside.calls == ()
    assert not inside.complete


@pytest.mark.parametrize("agent", TAGGED)
def test_text_after_a_call_does_not_depend_on_the_pieces(agent):
    d = tg.dialect("chatml", agent=agent)
    call = ToolCall("look_up", {"key": "x"})
    text = completion(d, talk(asking(call))).removesuffix("<|im_end|>") + " \n\nThat is all."
    whole = d.read(text, tools=[TOOL])
    reader = d.reader(tools=[TOOL])
    for character in text:
        reader.feed(character)
    assert reader.finish() == whole
    assert whole.calls == (call,)
    assert whole.content.strip() == "That is all."


def test_hy3_ends_the_last_turn_only_in_training():
    conv = talk(Message(Role.ASSISTANT, "This one."), tools=())
    stop = "<｜hy_eos:opensource｜>"
    assert tg.dialect("hy3").text(conv).endswith("This one.")
    assert tg.dialect("hy3", options={"is_training": True}).text(conv).endswith(stop)
    assert tg.dialect("hy3", agent="hermes").text(conv).endswith(stop)


def test_hy3_leaves_the_thinking_block_to_the_model_unless_the_effort_is_named():
    conv = talk(tools=())
    prompt = "<｜hy_Assistant:opensource｜>"
    assert tg.dialect("hy3").prompt(conv).endswith("<think:opensource></think:opensource>")
    assert tg.dialect("hy3", agent="hy_v3").prompt(conv).endswith(prompt)
    named = tg.dialect("hy3", agent="hy_v3", options={"reasoning_effort": "high"})
    assert named.prompt(conv).endswith(f"{prompt}<think:opensource>")


def test_hy3_knows_three_efforts():
    d = tg.dialect("hy3", options={"reasoning_effort": "medium"})
    with pytest.raises(TemplateError, match="medium") as caught:
        d.prompt(talk())
    assert "no_think" in caught.value.hint


@pytest.mark.parametrize(
    ("chat", "shown"),
    [("hy3", "<tool_responses:opensource>"), ("qwen3", "<｜hy_eos:opensource｜><tool_resp")],
)
def test_hy3s_results_stand_inside_the_assistants_turn_elsewhere(chat, shown):
    d = tg.dialect(chat, agent="hy_v3")
    conv = talk(
        asking(ToolCall("look_up", {"key": "x"})),
        Message(Role.TOOL, "found"),
        Message(Role.ASSISTANT, "Found."),
    )
    text = d.text(conv)
    assert shown in text
    assert ("<|im_start|>tool" in text) is False
    assert not d.losses(conv)


@pytest.mark.parametrize(("chat", "agent"), [("spark2_5", "spark2_5"), ("xing4_0", "xing4_0")])
def test_a_reply_may_open_with_the_closing_mark(chat, agent):
    d = tg.dialect(chat, agent=agent)
    reply = d.read(f"</think>Hello.{d.chat.stop}")
    assert (reply.thinking, reply.content) == (None, "Hello.")


def test_minicpm5_natively_drops_the_text_behind_its_separator():
    conv = talk(asking(ToolCall("look_up", {"key": "<b>"}), text="One<tool_sep>two"))
    assert "two" not in tg.dialect("minicpm5").text(conv)
    composed = tg.dialect("minicpm5", agent="minicpm5").text(conv)
    assert "two\n<function" in composed
    assert "<![CDATA[<b>]]>" in composed


def test_minicpm5s_tools_stand_where_the_system_prompt_says():
    system = Message(Role.SYSTEM, "Before.<tool_def_sep>After.")
    text = tg.dialect("minicpm5").text(Conversation((system, USER), (TOOL,)))
    assert "Before.# Tools" in text
    assert "]]></param>After.<|im_end|>" in text


def test_seed_prints_values_as_python_natively_and_as_json_when_composed():
    conv = talk(asking(ToolCall("look_up", {"key": "x", "deep": True})))
    assert "<parameter=deep>True<" in tg.dialect("seed_oss").text(conv)
    assert "<parameter=deep>true<" in tg.dialect("seed_oss", agent="seed_oss").text(conv)


def test_seed_writes_tools_without_parameters():
    bare = Tool({"type": "function", "function": {"name": "now", "description": "Now."}})
    assert "def now():\n" in tg.dialect("seed_oss").text(talk(tools=(bare,)))


def test_seed_ends_an_empty_turn_only_when_composed():
    conv = talk(Message(Role.ASSISTANT, ""), tools=())
    assert tg.dialect("seed_oss").text(conv).endswith("<seed:bos>assistant")
    assert tg.dialect("seed_oss", agent="seed_oss").text(conv).endswith("assistant\n<seed:eos>")


def test_hunyuan_writes_the_form_that_it_asks_for_and_reads_hermes_too():
    d = tg.dialect("hunyuan", agent="hunyuan_hermes")
    call = ToolCall("look_up", {"key": "```</tool_call>"})
    text = completion(d, talk(asking(call, call)))
    assert '<tool_calls><tool_call>look_up\n```json\n{"key"' in text
    assert d.read(text, tools=[TOOL]).calls == (call, call)
    hermes = '<tool_calls>\n<tool_call>\n{"name": "f", "arguments": {"a": 1}}\n</tool_call>'
    assert d.read(hermes).calls == (ToolCall("f", {"a": 1}),)


def test_hunyuan_refuses_names_that_do_not_fit_a_line():
    d = tg.dialect("hunyuan", agent="hunyuan_hermes")
    with pytest.raises(TemplateError, match="name") as caught:
        d.text(talk(asking(ToolCall("look up", {}))))
    assert caught.value.hint


def test_xing_shows_thinking_only_after_the_last_input():
    conv = talk(
        asking(ToolCall("look_up", {"key": "x"}), thinking="Look."),
        Message(Role.TOOL, "found"),
        Message(Role.ASSISTANT, "Found.", thinking="Good."),
    )
    d = tg.dialect("xing4_0")
    assert "Look." not in d.text(conv)
    assert "Good." in d.text(conv)
    assert "Look." in tg.dialect("xing4_0", options={"preserve_thinking": True}).text(conv)
    assert not d.losses(conv)


def test_nothing_inside_a_cut_off_call_is_a_call():
    d = tg.dialect("chatml", agent="hunyuan_hermes")
    cut_off = '<tool_calls><tool_call>send\n```json\n{"text": "<tool_call>drop {} and'
    reply = d.read(cut_off)
    assert reply.calls == ()
    assert not reply.complete
