"""Transcripts in text become conversations: tools out of the prompt, calls out of the replies."""

import json

import pytest

from toolgrove.core.errors import DataError
from toolgrove.core.messages import Role
from toolgrove.data.formats import conversation, explain

MS_AGENT = (
    "Answer the following questions as best you can. You have access to the following APIs:\n"
    "1. shelf_find: Call this tool to interact with the shelffind API. What is the shelffind API "
    'useful for? . Parameters: [{"name": "words", "description": "书名", "required": "True"}, '
    '{"name": "limit", "description": "how many", "required": "False"}]\n\n'
    "2. fire_alert: Call this tool to interact with the fire alert API. This API starts an alarm. "
    "Parameters: []\n\n"
    "Use the following format:\n\nThought: you should always think about what to do\n"
    "Action: the action to take, should be one of the above tools[shelf_find, fire_alert]\n"
    "Action Input: the input to the action\nObservation: the result of the action\n"
    "... (this Thought/Action/Action Input/Observation can be repeated zero or more times)\n"
    "Thought: I now know the final answer\n"
    "Final Answer: the final answer to the original input question\nBegin!"
)
STEPS = (
    "Thought: 先查书架。\nAction: shelf_find\n"
    "Action Input: {'words': {'title': '铁轨'}, 'limit': 2}\n"
    "Observation: [{'id': '7'}]\n[{'id': '8'}]\nThought: I now know the final answer\n"
    "Final Answer: 有两本：\nAction: 都在。"
)


def ms_agent(reply=STEPS, **more):
    turns = [("system", MS_AGENT), ("user", "有什么书？"), ("assistant", reply)]
    return {"conversations": [{"from": r, "value": v} for r, v in turns], "id": "a-1", **more}


def said(conv):
    return [(str(m.role), m.thinking, m.content, [c.arguments for c in m.calls]) for m in conv]


def refused(row) -> str:
    with pytest.raises(DataError) as caught:
        conversation(row)
    return str(caught.value)


def test_ms_agent_gives_steps_and_tools():
    conv = conversation(ms_agent())
    assert said(conv.messages) == [
        ("user", None, "有什么书？", []),
        ("assistant", "先查书架。", "", [{"words": {"title": "铁轨"}, "limit": 2}]),
        ("tool", None, "[{'id': '7'}]\n[{'id': '8'}]", []),
        ("assistant", "I now know the final answer", "有两本：\nAction: 都在。", []),
    ]
    find, alert = conv.tools
    assert find.parameters == {
        "type": "object",
        "properties": {"words": {"description": "书名"}, "limit": {"description": "how many"}},
        "required": ["words"],
    }
    assert (find.description, alert.name) == ("", "fire_alert")
    assert alert.description.endswith("This API starts an alarm.")
    assert dict(conv.extra) == {"id": "a-1"}
    assert explain(ms_agent())[0].format == "react"


def test_text_around_the_dialects_words_stays_the_system_message():
    row = ms_agent()
    row["conversations"][0]["value"] = f"You are Otter.\n\n{MS_AGENT}\nSpeak briefly."
    assert conversation(row).messages[0].content == "You are Otter.\n\nSpeak briefly."


def test_results_may_be_messages_of_their_own():
    row = ms_agent("Action: shelf_find\nAction Input: {}\nObservation:")
    row["conversations"] += [
        {"from": "user", "value": "Observation: none"},
        {"from": "assistant", "value": "Final Answer: Nothing."},
    ]
    roles = [m.role for m in conversation(row).messages]
    assert roles == [Role.USER, Role.ASSISTANT, Role.TOOL, Role.ASSISTANT]
    assert conversation(row).messages[-1].content == "Nothing."


def test_labels_inside_arguments_are_no_labels():
    text = 'Action: shelf_find\nAction Input: {"words": "a\nObservation: b"}\nObservation: c'
    with pytest.raises(DataError, match="not JSON"):
        conversation(ms_agent(text))  # a bare line end is no JSON, and nothing is guessed
    conv = conversation(ms_agent(text.replace("a\nO", "a\\nO")))
    assert conv.messages[1].calls[0].arguments == {"words": "a\nObservation: b"}


def test_a_weight_of_the_reply_is_a_weight_of_its_steps():
    row = ms_agent()
    row["conversations"][2]["loss"] = False
    steps = [m for m in conversation(row).messages if m.role is Role.ASSISTANT]
    assert [(m.loss, [c.loss for c in m.calls]) for m in steps] == [(False, [False]), (False, [])]


@pytest.mark.parametrize(
    ("reply", "what"),
    [
        ("Action: shelf_find\nAction Input: /tmp/1.jpg\nObservation: x", "not JSON"),
        ("Action: shelf_find\nAction Input: [1]\nObservation: x", "no JSON object"),
        ("Action: shelf_find\nObservation: x", "no Action Input"),
        ("Thought: hm\nAction Input: {}", "an Action Input without an Action"),
        ("Observation: x\nFinal Answer: y", "an Observation without an Action"),
        (
            "Action: f\nAction Input: {}\nObservation: x\nIt is x.",
            "where the last observation ends",
        ),
        ("Action: f\nAction Input: {}\nThought: y", "behind a call without a result"),
    ],
)
def test_what_is_no_step_is_refused(reply, what):
    assert what in refused(ms_agent(reply))


def test_react_words_without_a_list_of_tools_stay_text():
    text = "Thought: look\nAction: f\nAction Input: {}\nObservation: 1\nFinal Answer: 1"
    row = {"system": "Use Thought/Action.", "query": "q", "response": text}
    assert conversation(row).messages[-1].content == text


AGENTFABRIC = (
    "\n# 工具\n\n## 你拥有如下工具：\n\namap_weather: amap_weather API。获取天气 输入参数: "
    '{"type": "object", "properties": {"location": {"type": "string"}}, "required": ["location"]} '
    "Format the arguments as a JSON object.\n\n## 当你需要调用工具时，请在你的回复中穿插如下的工具"
    "调用命令，可以根据需求调用零次或多次：\n\n工具调用\n"
    "Action: 工具的名称，必须是[amap_weather]之一\n"
    "Action Input: 工具的输入\nObservation: <result>工具返回的结果</result>\n"
    "Answer: 根据Observation总结本次工具调用返回的结果，如果结果中出现url，"
    "请使用如下格式展示出来：![图片](url)\n\n\n# 指令\n\n你扮演天气预报员。\n\n"
    "请注意：你具有图像和视频的展示能力，也具有运行代码的能力，不要在回复中说你做不到。\n"
)


def test_agentfabric():
    reply = (
        'Action: amap_weather\nAction Input: {"location": "朝阳区"}\n'
        "Observation: <result>晴\nAction: 无</result>\nAnswer: 朝阳区今天晴。\n"
        'Action: amap_weather\nAction Input: {"location": "东城区"}\n'
        "Observation: <result>雨</result>\nAnswer: 东城区有雨。"
    )
    turns = [("system", AGENTFABRIC), ("user", "(。你可以使用工具：[amap_weather])天气？")]
    messages = [{"role": r, "content": c} for r, c in [*turns, ("assistant", reply)]]
    conv = conversation({"messages": messages})
    assert said(conv.messages) == [
        ("system", None, "你扮演天气预报员。", []),
        ("user", None, "天气？", []),
        ("assistant", None, "", [{"location": "朝阳区"}]),
        ("tool", None, "晴\nAction: 无", []),
        ("assistant", None, "朝阳区今天晴。", [{"location": "东城区"}]),
        ("tool", None, "雨", []),
        ("assistant", None, "东城区有雨。", []),
    ]
    assert conv.tools[0].function == {
        "name": "amap_weather",
        "description": "获取天气",
        "parameters": conv.tools[0].parameters,
    }
    taken_over = messages[2] | {"content": STEPS.replace("shelf_find", "amap_weather")}
    assert len(conversation({"messages": [*messages[:2], taken_over]}).messages) == 5


def test_agentfabric_without_tags_is_refused():
    reply = "Action: a\nAction Input: {}\nObservation: <result>x\nAnswer: y"
    turns = [("system", AGENTFABRIC), ("user", "q"), ("assistant", reply)]
    row = {"messages": [{"role": r, "content": c} for r, c in turns]}
    assert "without <result> tags" in refused(row)


def test_toolbench():
    apis = [
        {"name": "rates", "description": "d", "parameters": {"type": "object", "properties": {}}},
        {"name": "Finish", "description": "End.", "parameters": {"type": "object"}},
    ]
    system = (
        "You are AutoGPT, you can use many tools(functions) to do the following task.\n"
        "First I will give you the task description.\nSpecifically, you have access to the "
        f"following APIs: {apis}"
    )
    finish = '{\n  "return_type": "give_answer",\n  "final_answer": "Six."\n}'
    turns = [
        ("system", system),
        ("user", "\nHow many?\nBegin!\n"),
        ("assistant", "\nThought: \nAction: rates\nAction Input: {\n\n}"),
        ("function", '{"error": "", "response": "6"}'),
        ("assistant", f"\nThought: done\nAction: Finish\nAction Input: {finish}"),
    ]
    conv = conversation({"id": 1, "conversations": [{"from": r, "value": v} for r, v in turns]})
    assert [tool.name for tool in conv.tools] == ["rates", "Finish"]
    assert said(conv.messages)[1:] == [
        ("assistant", "", "", [{}]),
        ("tool", None, '{"error": "", "response": "6"}', []),
        ("assistant", "done", "", [json.loads(finish)]),
    ]


HERMES = (
    "You are a function calling AI model. You are provided with function signatures within <tools> "
    "</tools> XML tags. <tools> [{'type': 'function', 'function': {'name': 'play', 'description': "
    "'Plays.', 'parameters': {'type': 'object', 'properties': {}}}}] </tools> For each call return "
    "a json object within <tool_call> </tool_call> tags:\n<tool_call>\n{'arguments': <args-dict>, "
    "'name': <function-name>}\n</tool_call>\n"
)


def hermes(*turns, **more):
    listed = [("system", HERMES), ("human", "Play."), *turns]
    return {"conversations": [{"from": r, "value": v} for r, v in listed], **more}


def test_hermes_text():
    call = "<tool_call>\n{'arguments': {'n': '1', 'on': True}, 'name': 'play'}\n</tool_call>"
    result = "<tool_response>\n{'ok': 1}\n</tool_response>"
    row = hermes(("gpt", f"Sure.\n{call}\n{call}\n"), ("tool", result), ("gpt", "Done."))
    conv = conversation(row)
    assert said(conv.messages) == [
        ("user", None, "Play.", []),
        ("assistant", None, "Sure.", [{"n": "1", "on": True}] * 2),
        ("tool", None, "{'ok': 1}", []),
        ("assistant", None, "Done.", []),
    ]
    assert conv.tools[0].spec["function"]["name"] == "play"
    both = conversation(hermes(("gpt", call), ("human", f"{result}\n{result}")))
    assert [m.role for m in both.messages][-2:] == [Role.TOOL, Role.TOOL]
    assert "other tools than the system prompt" in refused(
        hermes(("gpt", call), tools=[{"name": "stop"}])
    )
    assert "behind a call" in refused(hermes(("gpt", f"{call} done")))
    assert "not closed" in refused(hermes(("gpt", "<tool_call> {")))


def test_glaive_chat():
    function = {"name": "rate", "description": "d", "parameters": {"type": "object"}}
    row = {
        "system": "SYSTEM: You are a helpful assistant with access to the following functions. "
        f"Use them if required -\n{json.dumps(function, indent=4)}\n\n{json.dumps(function)}\n",
        "chat": "USER: Hi?\n\n\nASSISTANT: One moment. <functioncall> "
        '{"name": "rate", "arguments": \'{\n"a": "it\\\'s", "n": 5}\'} <|endoftext|>\n\n\n'
        'FUNCTION RESPONSE: {"rate": 0.9}\n\n\nASSISTANT: 0.9 it is. <|endoftext|>\n\n\n',
    }
    conv = conversation(row)
    assert said(conv.messages) == [
        ("user", None, "Hi?", []),
        ("assistant", None, "One moment.", [{"a": "it's", "n": 5}]),
        ("tool", None, '{"rate": 0.9}', []),
        ("assistant", None, "0.9 it is.", []),
    ]
    assert [tool.name for tool in conv.tools] == ["rate", "rate"]
    assert dict(conv.extra) == {}
    plain = {**row, "system": "SYSTEM: You are kind.", "chat": "USER: a\n\n\nASSISTANT: b"}
    assert [m.content for m in conversation(plain).messages] == ["You are kind.", "a", "b"]
    assert "before the first speaker" in refused({**row, "chat": "Hi\nASSISTANT: b"})


def test_function_description():
    row = {
        "system_message": "Use them if required -",
        "function_description": '{"name": "a"}\n\n{\n "name": "b"\n}',
        "conversations": [
            {"from": "human", "value": "q"},
            {"from": "function-call", "value": '{"name": "a", "arguments": \'{"x": "1"}\'}'},
            {"from": "function-response", "value": "r"},
        ],
    }
    conv = conversation(row)
    assert [tool.name for tool in conv.tools] == ["a", "b"]
    assert conv.messages[1].calls[0].arguments == {"x": "1"}
    assert dict(conv.extra) == {"system_message": "Use them if required -"}


def test_xlam():
    tool = {
        "name": "live",
        "description": "d",
        "parameters": {
            "a": {"description": "x", "type": "str", "default": "z"},
            "b": {"type": "List[int], optional"},
            "c": {"type": "Callable[[float], float]"},
        },
    }
    answers = '[{"name": "live", "arguments": {"a": "true", "b": [1]}}]'
    row = {"id": 0, "query": "q", "tools": json.dumps([tool]), "answers": answers}
    conv = conversation(row)
    assert conv.messages[1].calls[0].arguments == {"a": "true", "b": [1]}
    assert conv.tools[0].parameters == {
        "type": "object",
        "properties": {
            "a": {"description": "x", "type": "string", "default": "z"},
            "b": {"type": "array", "items": {"type": "integer"}},
            "c": {"x-type": "Callable[[float], float]"},
        },
        "required": ["c"],
    }
    assert [str(m.role) for m in conversation({**row, "answers": "[]"}).messages] == ["user"]


def test_bfcl():
    row = {
        "id": "simple_0",
        "question": [[{"role": "user", "content": "Area?"}]],
        "function": [
            {
                "name": "g.area",
                "description": "d",
                "parameters": {
                    "type": "dict",
                    "properties": {"w": {"type": "float"}, "unit": {"type": "any"}},
                    "required": ["w"],
                },
            }
        ],
    }
    assert [str(m.role) for m in conversation(row).messages] == ["user"]
    answered = conversation(
        {**row, "ground_truth": [{"g.area": {"w": [3, 3.0], "unit": ["", "m"]}}]}
    )
    assert answered.messages[1].calls[0].arguments == {"w": 3}
    assert answered.tools[0].parameters["properties"]["w"] == {"type": "number"}
    assert answered.extra["ground_truth"] == [{"g.area": {"w": [3, 3.0], "unit": ["", "m"]}}]
    assert "turns without the answers" in refused({**row, "question": [row["question"][0]] * 2})


def test_a_prompt_that_lists_tools_without_messages_is_refused() -> None:
    with pytest.raises(DataError, match="no messages"):
        conversation({"messages": [{"role": "system", "content": MS_AGENT}]})
