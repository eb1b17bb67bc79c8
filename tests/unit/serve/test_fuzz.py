"""Requests drawn from the server's own OpenAPI description, right ones and wrong ones."""

import asyncio
from collections import Counter, defaultdict

import httpx2 as httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from tests.unit.serve.conftest import scripted
from toolgrove.serve.app import make_app
from toolgrove.serve.guard import Limits

CALL = '<tool_call>\n{"name": "look_up", "arguments": {"word": "grove 🙂"}}\n</tool_call>'
REPLIES = ["plain text, 你好 🙂", f"<think>hm</think>Look.\n{CALL}\n{CALL}", "<tool_call>no", ""]
EXAMPLES = 60
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(scope="module")
def app():
    served = scripted(REPLIES * 50_000)
    served.scheduler.start()
    yield make_app(served, Limits())
    served.scheduler.stop()


@pytest.mark.slow
def test_nothing_that_the_description_allows_or_forbids_is_an_error_of_the_server(app):
    import schemathesis
    from schemathesis import GenerationMode

    description = schemathesis.openapi.from_dict(app.openapi())
    statuses = defaultdict(Counter)
    with asyncio.Runner() as runner:
        for operation in (found.ok() for found in description.get_all_operations()):
            told = statuses[operation.path]
            right = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
            _try(runner, app, right, told)
            if operation.body:
                _try(runner, app, right.map(mended), told)
                wrong = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
                _try(runner, app, wrong, told)
    assert statuses["/v1/chat/completions"][200] >= EXAMPLES // 3, statuses
    for path in ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/tokenize"):
        assert min(statuses[path][200], statuses[path][400]) >= EXAMPLES // 10, (path, statuses)


def mended(case):
    """The request without what a description cannot forbid: fields that belong together."""
    body = case.body
    if not isinstance(body, dict):
        return case
    for name in ("model", "chat_template_kwargs", "logit_bias", "response_format"):
        body.pop(name, None)
    if not body.get("stream"):
        body.pop("stream_options", None)
    if not body.get("logprobs"):
        body.pop("top_logprobs", None)
    if body.get("messages"):
        body.pop("prompt", None)
        body["messages"] = [_whole(message) for message in body["messages"]]
    if isinstance(body.get("prompt"), list) or not body.get("prompt", "x"):
        body["prompt"] = "Hello"
    for name in ("tools", "tool_choice"):
        if not (body.get("tools") and "messages" in body) or name == "tool_choice":
            body.pop(name, None)
    for number, tool in enumerate(body.get("tools") or ()):
        tool["function"] |= {"name": f"look_up{number}", "parameters": None}
    return case


def _whole(message):
    if message["role"] == "assistant" and message.get("tool_calls"):
        for call in message["tool_calls"]:
            call["function"]["arguments"] = "{}"
    else:
        message.pop("tool_calls", None)
    if not isinstance(message.get("content"), str):
        message["content"] = "\x00 \u2028 🙂"
    return message


def _try(runner, app, cases, told):
    @FUZZ
    @given(cases)
    def one(case):
        answer = runner.run(_ask(app, case))
        assert answer.status_code < 500, answer.text
        assert '"server_error"' not in answer.text
        if answer.status_code >= 400:
            assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        told[answer.status_code] += 1

    one()


async def _ask(app, case):
    sent = case.as_transport_kwargs(base_url="http://localhost")
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport) as http:
        return await http.request(**sent)


@pytest.mark.parametrize("path", ["x" * 5000, "\0", "/proc/self/mem", ""])
def test_an_adapter_at_an_impossible_place_is_the_clients_mistake(serving, path):
    body = {"lora_name": "a", "lora_path": path}
    answer = serving(["x"]).ask("/v1/load_lora_adapter", body)
    assert answer.status_code == 400, answer.text
