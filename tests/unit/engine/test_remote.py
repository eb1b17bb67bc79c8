"""Engines elsewhere: a vLLM server fed token ids, an OpenAI-compatible API."""

import json
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from toolgrove.core.errors import ConfigError, ModelError, ToolgroveError
from toolgrove.encoding.byte_level import byte_level_tokenizer
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.engine.backends import Backend, chosen
from toolgrove.engine.base import Finish, Sampling, generate
from toolgrove.engine.growing import Growing
from toolgrove.engine.http import address_of, fetch
from toolgrove.engine.kept import KeptPrompts
from toolgrove.engine.live import Job
from toolgrove.engine.vllm_server import VllmServer
from toolgrove.eval.runner import run_eval
from toolgrove.eval.settings import EvalSettings
from toolgrove.models.tiny import tiny_model
from toolgrove.templates.dialect import dialect

SPOKEN = dialect("chatml", agent="hermes")
CALL = '<tool_call>\n{"name": "now", "arguments": {}}\n</tool_call>'


@pytest.fixture(scope="module")
def tok():
    return byte_level_tokenizer(SPOKEN, [CALL, "Grüße 🙂"])


@pytest.fixture
def there():
    """A server that answers with what it is told; ``asked`` keeps the requests."""
    state = {"asked": [], "answers": {}}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(None)

        def do_POST(self):
            self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

        def _answer(self, body):
            state["asked"].append((self.path, body, self.headers.get("Authorization")))
            status, answer = state["answers"][self.path]
            answer = answer(body) if callable(answer) else answer
            stream = isinstance(answer, list)
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if stream else "application/json")
            self.end_headers()
            if not stream:
                self.wfile.write(json.dumps(answer).encode())
                return
            for event in answer:
                self.wfile.write(b"data: " + json.dumps(event).encode() + b"\n\n")
                self.wfile.flush()
            if not state.get("breaks"):
                self.wfile.write(b"data: [DONE]\n\n")

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    state["url"] = f"http://127.0.0.1:{server.server_port}"
    state["answers"]["/v1/models"] = (200, {"data": [{"id": "m", "max_model_len": 500}]})
    yield state
    server.shutdown()
    server.server_close()


def pieces_of(tok, reply, size):
    """A reply as vLLM streams it: ids in deltas, the end mark among them, then why it ended."""
    ids = [*tok.encode(reply), tok.control_ids["<|im_end|>"]]
    deltas = [ids[i : i + size] for i in range(0, len(ids), size)]
    return [
        {"choices": [{"index": 0, "text": "", "token_ids": delta,
                      "finish_reason": "stop" if delta is deltas[-1] else None}]}
        for delta in deltas
    ]  # fmt: skip


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_vllm_server_gives_the_tokens_and_their_text(there, tok, size):
    replies = {"1": CALL, "2": "Grüße 🙂"}
    prompts = {"1": tok.encode("one?"), "2": tok.encode("two?")}
    there["answers"]["/v1/completions"] = (
        200,
        lambda body: pieces_of(
            tok, next(replies[n] for n in replies if prompts[n] == body["prompt"]), size
        ),
    )
    engine = KeptPrompts(VllmServer(address_of(there["url"] + "/v1", "key"), tok))
    sampling = Sampling(max_new_tokens=400, stop=SPOKEN.stops)
    tag = {"type": "structural_tag", "format": {"type": "any_text"}}
    said = generate(engine, list(prompts.values()), sampling, [tag, None])
    assert [reply.text for reply in said] == list(replies.values())
    assert all(reply.finish is Finish.STOP for reply in said)
    assert [tok.decode(list(reply.ids[:-1])) for reply in said] == list(replies.values())
    first, second = (body for path, body, _ in there["asked"] if path == "/v1/completions")
    assert json.loads(first["structured_outputs"]["structural_tag"]) == tag
    assert "structured_outputs" not in second
    assert first["stop_token_ids"] == [tok.control_ids[stop] for stop in SPOKEN.stops]
    assert {key for _, _, key in there["asked"]} == {"Bearer key"}


def test_a_vllm_server_that_refuses_or_breaks_off_is_told(there, tok):
    engine = VllmServer(address_of(there["url"]), tok)
    assert engine.context == 500
    with pytest.raises(ModelError, match="no room"):
        engine.prepare(Job((5,) * 500, Sampling()))
    job = engine.prepare(Job((5, 6), Sampling(stop=SPOKEN.stops)))
    there["answers"]["/v1/completions"] = (400, {"error": {"message": "no such thing"}})
    with pytest.raises(ModelError, match="no such thing"):
        engine.add(0, job)
    there["answers"]["/v1/completions"] = (200, pieces_of(tok, "abc", 2)[:1])
    engine.add(1, job)
    with pytest.raises(ModelError, match="broke off"):
        deque((engine.step() for _ in range(200)), maxlen=0)
    with pytest.raises(ModelError, match="no answer"):
        fetch(address_of("http://127.0.0.1:9"), "/v1/models")


def test_an_evaluation_asks_the_engine_that_it_is_told_to(there, tmp_path):
    base = tiny_model(tmp_path / "base")
    own = load_tokenizer(base)
    there["answers"]["/v1/models"] = (200, {"data": [{"id": "m", "max_model_len": 4000}]})
    there["answers"]["/v1/completions"] = (200, pieces_of(own, "No.", 1))
    settings = EvalSettings(
        model=str(base),
        template="chatml",
        agent_template="hermes",
        suite=["behaviour"],
        limit=1,
        output_dir=tmp_path / "out",
        max_new_tokens=16,
        infer_backend="vllm",
        url=there["url"],
    )
    report = run_eval(settings)
    assert report.dialect.startswith("chatml + hermes")
    asked = [body for path, body, _ in there["asked"] if path == "/v1/completions"]
    assert len(asked) >= len(report.outcomes) > 3
    prompts = [own.decode(body["prompt"]) for body in asked]
    assert all(prompt.endswith("<|im_start|>assistant\n") for prompt in prompts)
    assert any("<tools>" in prompt for prompt in prompts)
    measured = json.loads((tmp_path / "out/cases.jsonl").read_text().partition("\n")[0])
    assert "vllm" in json.dumps(measured)
    # what another engine answered is not taken for this one's
    asked = len(there["asked"])
    here = run_eval(settings.model_copy(update={"infer_backend": "local", "url": None}))
    assert len(here.outcomes) == len(report.outcomes)
    assert [one.texts for one in here.outcomes] != [one.texts for one in report.outcomes]
    assert len(there["asked"]) == asked


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"infer_backend": "remote"}, "where is the remote"),
        ({"infer_backend": "local", "url": "http://localhost:1"}, "--url does not go"),
        ({"infer_backend": "local", "engine_options": {"a": 1}}, "no --engine_options"),
        ({"infer_backend": "vllm", "processes": 2}, "--processes says nothing"),
        ({"infer_backend": "openvino", "served_model": "m"}, "--served_model"),
    ],
)
def test_what_an_evaluation_cannot_ask_with_is_refused(given, says, tmp_path):
    with pytest.raises(ToolgroveError, match=says):
        run_eval(EvalSettings(model="m", output_dir=tmp_path, **given))


@pytest.mark.parametrize("size", [1, 2, 7, 500])
def test_a_reply_ends_at_its_stops_wherever_the_tokens_are_cut(tok, size):
    text = "All right.\nObservation: no more"
    ids = tok.encode(text)
    job = Job((1,), Sampling(max_new_tokens=500, stop=("Observation:", "<|im_end|>")))
    growing = Growing(0, job, tok)
    assert growing.stop_texts == ("Observation:",)
    said, taken = "", 0
    for start in range(0, len(ids), size):
        piece = growing.take(ids[start : start + size], None)
        said, taken = said + piece.text, taken + len(piece.ids)
        if piece.finish is not None:
            break
    assert (said, piece.finish, growing.ended) == ("All right.\n", Finish.STOP, True)
    assert tok.decode(ids[:taken]).endswith("Observation:")
    short = Growing(1, Job((1,), Sampling(max_new_tokens=3)), tok)
    assert short.take(ids, None).finish is Finish.LENGTH


def test_backends_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="where is the remote"):
        Backend("remote")
    with pytest.raises(ConfigError, match="--url does not go"):
        Backend("local", "http://localhost:1")
    with pytest.raises(ConfigError, match="not an address"):
        address_of("localhost:8000")
    assert chosen(Backend("auto"), tmp_path, False).name == "local"
    assert chosen(Backend("auto", "http://localhost:1"), None, False).name == "remote"
