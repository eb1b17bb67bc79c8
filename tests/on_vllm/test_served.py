"""A server of ours over vLLM, asked by a real client (``make test-vllm`` says where it is)."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest

URL = os.environ.get("TOOLGROVE_TEST_URL")
pytestmark = pytest.mark.skipif(URL is None, reason="make test-vllm starts the server")

SCHEMAS = {
    "get_weather": {
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
        },
        "required": ["city", "unit"],
        "additionalProperties": False,
    },
    "get_time": {
        "type": "object",
        "properties": {"hours": {"type": "integer", "minimum": 0, "maximum": 23}},
        "required": ["hours"],
        "additionalProperties": False,
    },
}
TOOLS = [
    {"type": "function", "function": {"name": n, "description": "Looks it up.", "parameters": s}}
    for n, s in SCHEMAS.items()
]
ASK = [{"role": "user", "content": "What is the weather in Paris, and what time is it?"}]


@pytest.fixture(scope="module")
def client():
    return openai.OpenAI(base_url=f"{URL}/v1", api_key="none", timeout=600)


def ask(client, messages=ASK, **more):
    given = {"model": "m", "temperature": 0, "max_tokens": 80, **more}
    return client.chat.completions.create(messages=messages, **given)


def valid(call):
    """The arguments of a call, which fit its tool's schema."""
    import jsonschema_rs

    arguments = json.loads(call.function.arguments)
    jsonschema_rs.validate(SCHEMAS[call.function.name], arguments)
    return arguments


def named(name):
    return {"type": "function", "function": {"name": name}}


def test_a_loop_of_two_tools(client):
    messages = list(ASK)
    for name in SCHEMAS:
        said = ask(client, messages, tools=TOOLS, tool_choice=named(name)).choices[0]
        assert said.finish_reason == "stop"  # a named tool, as vLLM says it
        (call,) = said.message.tool_calls
        assert call.function.name == name
        valid(call)
        messages += [
            said.message.model_dump(exclude_none=True),
            {"role": "tool", "tool_call_id": call.id, "content": "21"},
        ]
    last = ask(client, messages, tools=TOOLS, tool_choice="none", max_tokens=12).choices[0]
    assert last.message.tool_calls is None
    assert last.message.content


def test_required_calls_are_valid_streamed_and_whole(client):
    one = {"parallel_tool_calls": False}  # an untuned model might call until it is cut
    whole = ask(client, tools=TOOLS, tool_choice="required", **one).choices[0]
    assert whole.finish_reason == "tool_calls"
    arguments = [valid(call) for call in whole.message.tool_calls]
    given = {"model": "m", "temperature": 0, "max_tokens": 80, "tools": TOOLS, **one}
    with client.chat.completions.stream(messages=ASK, tool_choice="required", **given) as stream:
        final = stream.get_final_completion().choices[0]
    assert final.finish_reason == "tool_calls"
    assert [json.loads(c.function.arguments) for c in final.message.tool_calls] == arguments
    assert not final.message.content


def test_json_is_held_to_its_schema(client):
    schema = SCHEMAS["get_time"]
    wanted = {"type": "json_schema", "json_schema": {"name": "t", "schema": schema}}
    said = ask(client, response_format=wanted).choices[0]
    assert 0 <= json.loads(said.message.content)["hours"] <= 23


def test_limits_stops_choices_and_logprobs(client):
    cut = ask(client, max_tokens=2)
    assert (cut.choices[0].finish_reason, cut.usage.completion_tokens) == ("length", 2)
    free = ask(client, max_tokens=24).choices[0].message.content
    stop = free[5:9]
    assert ask(client, max_tokens=24, stop=stop).choices[0].message.content == free.split(stop)[0]
    many = ask(client, n=3, temperature=1, seed=1, max_tokens=6, logprobs=True, top_logprobs=2)
    assert len(many.choices) == 3
    for choice in many.choices:
        for token in choice.logprobs.content:
            assert token.logprob <= 0
            assert len(token.top_logprobs) == 2
    again = ask(client, n=3, temperature=1, seed=1, max_tokens=6)
    assert [c.message.content for c in again.choices] == [c.message.content for c in many.choices]


def test_requests_together_say_what_each_says_alone(client):
    texts = [f"Say the number {n}." for n in range(8)]

    def one(text):
        return ask(client, [{"role": "user", "content": text}], max_tokens=8).usage.prompt_tokens

    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(one, texts))
    assert together == [one(text) for text in texts]


def test_a_stream_that_is_left_does_not_stop_others(client):
    for _ in range(3):
        with ask(client, stream=True, max_tokens=400) as stream:
            next(iter(stream))
    assert ask(client, max_tokens=4).choices[0].message.content
