"""A model behind the server: calls held to schemas, adapters under their own names."""

import json

import jsonschema_rs
import pytest

from tests.unit.serve.conftest import Client
from tests.unit.serve.test_chat import PATH, chat, events, joined
from toolgrove.engine.live_local import LocalLive
from toolgrove.engine.local import LocalEngine
from toolgrove.engine.speech import Speech, speech_of
from toolgrove.models.adapters import Lora, add_adapter
from toolgrove.models.load import load_model
from toolgrove.serve.scheduler import Scheduler
from toolgrove.serve.served import Defaults, Model, Served

SCHEMA = {
    "type": "object",
    "properties": {
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "days": {"type": "integer", "minimum": 1, "maximum": 9},
    },
    "required": ["unit", "days"],
    "additionalProperties": False,
}
TOOLS = [
    {"type": "function", "function": {"name": name, "parameters": SCHEMA}}
    for name in ("one", "two")
]


@pytest.fixture(scope="module")
def client(llama):
    engine = LocalEngine.load(llama, dtype="float32")
    scheduler = Scheduler(LocalLive(engine))
    base = Model("tiny", Speech(llama, "chatml", "hermes"))
    served = Served(engine.tok, scheduler, base, Defaults(temperature=1.0, max_new_tokens=24))
    scheduler.start()
    yield Client(served)
    scheduler.stop()


def held_call(message):
    (call,) = message["tool_calls"]
    jsonschema_rs.validate(SCHEMA, json.loads(call["function"]["arguments"]))
    return call["function"]["name"]


@pytest.mark.parametrize(
    ("choice", "names", "reason"),
    [
        ("required", {"one", "two"}, "tool_calls"),
        ({"type": "function", "function": {"name": "two"}}, {"two"}, "stop"),
    ],
)
def test_a_required_call_is_valid_whatever_the_model_would_say(client, choice, names, reason):
    pytest.importorskip("xgrammar", reason="the extra grammar is not installed")
    called = 0
    for seed in range(6):
        asked = chat(tools=TOOLS, parallel_tool_calls=False, seed=seed, max_tokens=200)
        asked |= {"temperature": 1.5, "tool_choice": choice}
        answer = client.ask(PATH, asked).json()["choices"][0]
        message = answer["message"]
        if answer["finish_reason"] == "length":  # thinking is free, and may go on for ever
            assert message["reasoning_content"]
            assert message["content"] == ""
            continue
        assert held_call(message) in names
        assert message["content"] is None
        assert answer["finish_reason"] == reason
        called += 1
    assert called >= 3


def test_a_schema_holds_the_whole_reply(client):
    pytest.importorskip("xgrammar", reason="the extra grammar is not installed")
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA, "strict": True}}
    body = chat(response_format=wanted, seed=1, max_tokens=200, stream=True)
    message, reason = joined(events(client.ask(PATH, body)))
    jsonschema_rs.validate(SCHEMA, json.loads(message["content"]))
    assert reason == "stop"


def test_seeds_repeat_and_choices_differ(client):
    texts = []
    for _ in range(2):
        answer = client.ask(PATH, chat(n=3, seed=7)).json()["choices"]
        texts.append([choice["message"]["content"] for choice in answer])
    assert texts[0] == texts[1]
    assert len(set(texts[0])) == 3


def test_many_at_once_say_what_each_says_alone(client):
    bodies = [
        chat(messages=[{"role": "user", "content": word * 9}], temperature=0, tools=TOOLS)
        for word in ("weather", "tool ", "Paris ", "a", "function ", "21 ")
    ]
    alone = [client.ask(PATH, body).json()["choices"][0]["message"]["content"] for body in bodies]
    answers = client.ask_all([(PATH, body, {}) for body in bodies * 3])
    together = [answer.json()["choices"][0]["message"]["content"] for answer in answers]
    assert together == alone * 3


def test_completions_take_texts_and_tokens(client):
    text = "What is the weather in Paris?"
    tokens = client.ask("/tokenize", {"prompt": text}).json()["tokens"]
    body = {"prompt": [text], "max_tokens": 8, "temperature": 0, "logprobs": 2}
    one = client.ask("/v1/completions", body).json()
    two = client.ask("/v1/completions", {**body, "prompt": tokens, "stream": True})
    assert one["choices"][0]["text"] == "".join(c["choices"][0]["text"] for c in events(two))
    assert len(one["choices"][0]["logprobs"]["tokens"]) <= 8
    assert one["usage"]["prompt_tokens"] == len(tokens)


def test_adapters_come_and_go_under_their_own_names(client, llama, tmp_path):
    import torch

    model = add_adapter(load_model(llama, torch.float32), Lora(rank=4))
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(str(tmp_path))
    asked = chat(temperature=0, tools=TOOLS)
    bare = client.ask(PATH, asked).json()["choices"]
    loaded = client.ask(
        "/v1/load_lora_adapter", {"lora_name": "weather", "lora_path": str(tmp_path)}
    ).json()
    assert (loaded["id"], loaded["parent"], loaded["agent_template"]) == (
        "weather",
        "tiny",
        "hermes",
    )
    assert [m["id"] for m in client.ask("/v1/models").json()["data"]] == ["tiny", "weather"]
    both = [(PATH, {**asked, "model": name}, {}) for name in ("tiny", "weather")]
    one, two = (answer.json()["choices"] for answer in client.ask_all(both))
    assert one == bare
    assert two != bare
    again = {"lora_name": "weather", "lora_path": "/nowhere"}
    assert client.ask("/v1/load_lora_adapter", again).status_code == 400
    assert client.ask("/v1/unload_lora_adapter", {"lora_name": "weather"}).status_code == 200
    assert client.ask(PATH, {**asked, "model": "weather"}).status_code == 404
    assert client.ask("/v1/load_lora_adapter", again).status_code == 400
    assert client.ask(PATH, asked).json()["choices"] == bare


def test_the_dialect_is_as_told_as_trained_or_one_that_loses_nothing(tmp_path):
    smollm2 = Speech(None, "smollm2", None)
    told = speech_of(smollm2, [])
    assert told is smollm2
    dialect = Speech(None, "qwen3", "react_en").dialect()
    trained = {
        "chat_template": "qwen3",
        "agent_template": "react_en",
        "options": {},
        "today": dialect.today.isoformat(),
        "fingerprint": dialect.fingerprint(),
    }
    (tmp_path / "dialect.json").write_text(json.dumps(trained))
    (tmp_path / "checkpoint-3").mkdir()
    for place in (tmp_path, tmp_path / "checkpoint-3"):
        found = speech_of(Speech(None, None, None), [place])
        assert (found.template, found.agent) == ("qwen3", "react_en")
        assert "as trained" in found.why


def test_a_template_without_tools_gets_the_agent_template_of_its_family(llama):
    found = speech_of(Speech(llama, None, None), [])
    assert found.agent == "hermes"
    assert "would lose" in found.why
