"""What is not answered: each in the shape of OpenAI's errors, with the right status."""

import json

import pytest

from tests.unit.serve.test_chat import PATH, TOOLS, chat
from toolgrove.serve.guard import Limits

NAMED = {"type": "function", "function": {"name": "nope"}}


def refused(response, status):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["message"]
    return error


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ("{", None),
        ("", None),
        ("[]", None),
        ("nonsense", None),
        ("[" * 100_000, None),
        ('{"messages": [{"role": "user", "content": "\\ud800"}]}', None),
        (chat(messages=[]), "messages"),
        (chat(tools=[]), "tools"),
        (chat(tools=TOOLS, tool_choice=NAMED), "tool_choice"),
        (chat(tool_choice="required"), "tool_choice"),
        (chat(tools=TOOLS, tool_choice="maybe"), "tool_choice"),
        (chat(tools=[TOOLS[0], TOOLS[0]]), None),
        (chat(tools=[{"type": "function"}]), "tools[0]"),
        (chat(temprature=1), "temprature"),
        (chat(temperature=-1), "temperature"),
        (chat(max_tokens=0), "max_tokens"),
        (chat(n=1000), "n"),
        (chat(functions=[{"name": "x"}]), "functions"),
        (chat(top_logprobs=3), "top_logprobs"),
        (chat(stream_options={"include_usage": True}), "stream_options"),
        (chat(stop=[""]), "stop"),
        (chat(response_format={"type": "json_schema"}), "response_format"),
        (chat(logit_bias={"x": 1}), "logit_bias"),
        (chat(chat_template_kwargs={"nope": 1}), "chat_template_kwargs"),
        (chat(messages=[{"role": "robot", "content": "x"}]), "messages[0].role"),
        (chat(messages=[{"role": "user"}]), "messages"),
        (chat(messages=[{"role": "user", "content": "x", "wat": 1}]), "messages[0].wat"),
        (chat(prediction={"type": "content", "content": "x"}), "prediction"),
    ],
)
def test_bad_requests_are_told_and_play_no_reply(serving, body, param):
    client = serving(["only"])
    assert refused(client.ask(PATH, body), 400)["param"] == param
    assert client.ask(PATH, chat()).json()["choices"][0]["message"]["content"] == "only"


@pytest.mark.parametrize("url", ["file:///etc/passwd", "http://169.254.169.254/", "data:,x"])
def test_nothing_is_read_from_an_address(serving, url):
    part = {"type": "image_url", "image_url": {"url": url}}
    body = chat(messages=[{"role": "user", "content": [part]}])
    assert "text only" in refused(serving(["x"]).ask(PATH, body), 400)["message"]


def test_bad_schemas_are_told(serving):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "objekt"}}}
    error = refused(serving(["x"]).ask(PATH, chat(tools=[tool])), 400)
    assert 'the parameters of the tool "f"' in error["message"]


def test_unknown_models_and_paths_are_not_found(serving):
    client = serving(["x"])
    error = refused(client.ask(PATH, chat(model="scriptd")), 404)
    assert 'did you mean "scripted"?' in error["message"]
    assert error["code"] == "model_not_found"
    refused(client.ask("/v1/nope"), 404)
    refused(client.ask("/v1/models/nope"), 404)


def test_keys_are_asked_for_everywhere_but_health(serving):
    client = serving(["x"], limits=Limits(api_keys=("right",), local=False))
    assert refused(client.ask(PATH, chat()), 401)["code"] == "invalid_api_key"
    refused(client.ask(PATH, chat(), headers={"Authorization": "Bearer wrong"}), 401)
    refused(client.ask("/metrics"), 401)
    assert client.ask("/health").status_code == 200
    right = {"Authorization": "Bearer right"}
    assert client.ask(PATH, chat(), headers=right).status_code == 200


def test_large_bodies_and_other_types_are_refused(serving):
    client = serving(["x"], limits=Limits(max_body_bytes=1000))
    assert refused(client.ask(PATH, chat(user="x" * 2000)), 413)["code"] == "body_too_large"
    refused(client.ask(PATH, json.dumps(chat()), headers={"content-type": "text/plain"}), 415)


def test_a_page_that_pretends_to_be_here_is_refused(serving):
    client = serving(["x"])
    refused(client.ask(PATH, chat(), headers={"host": "evil.example"}), 403)
    assert client.ask(PATH, chat(), headers={"host": "127.0.0.1:8000"}).status_code == 200


def test_a_script_that_is_over_says_so(serving):
    client = serving(["only"])
    client.ask(PATH, chat())
    for stream in (False, True):
        assert "no more replies" in refused(client.ask(PATH, chat(stream=stream)), 503)["message"]


def test_a_prompt_that_is_too_long_is_told(serving):
    client = serving(["x"])
    client.served.scheduler.engine._context = 20
    error = refused(client.ask(PATH, chat(tools=TOOLS)), 400)
    assert error["code"] == "context_length_exceeded"
