"""Spans of requests: what they tell, and that they tell nothing of what was said."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from tests.unit.serve.conftest import Client
from tests.unit.serve.test_chat import CALL, PATH, TOOLS, chat
from toolgrove.serve.app import make_app
from toolgrove.serve.guard import Limits
from toolgrove.serve.traces import Traces, to_collector

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def traced(serving):
    """A client of a traced server, and what it exports."""

    def begin(replies, traces=None):
        exporter = InMemorySpanExporter()
        client: Client = serving(replies)
        made = traces or Traces(SimpleSpanProcessor(exporter))
        client.app = make_app(client.served, Limits(), traces=made)
        return client, exporter.get_finished_spans

    return begin


def test_a_span_tells_route_model_tokens_and_finish_but_nothing_that_was_said(traced):
    client, spans = traced([CALL, CALL])
    for stream in (False, True):
        asked = chat(tools=TOOLS, stream=stream)
        client.ask(PATH, asked, headers={"traceparent": PARENT})
    found = spans()
    assert len(found) == 2
    for span in found:
        assert (span.name, span.kind) == (f"POST {PATH}", SpanKind.SERVER)
        assert f"{span.context.trace_id:032x}" == PARENT.split("-")[1]
        assert f"{span.parent.span_id:016x}" == PARENT.split("-")[2]
        told = dict(span.attributes)
        assert told["http.response.status_code"] == 200
        assert told["gen_ai.operation.name"] == "chat"
        assert told["gen_ai.request.model"] == "scripted"
        assert told["gen_ai.usage.output_tokens"] > 0
        assert told["gen_ai.response.finish_reasons"] == ("tool_calls",)
        assert "get_weather" not in json.dumps(told)
        assert span.resource.attributes["service.name"] == "toolgrove"


def test_refusals_have_spans_and_health_has_none(traced):
    client, spans = traced(["Hi"])
    client.ask("/health")
    client.ask("/metrics")
    client.ask(PATH, "no JSON")
    client.ask("/v1/nowhere")
    assert [(s.name, s.attributes["http.response.status_code"]) for s in spans()] == [
        (f"POST {PATH}", 400),
        ("GET other", 404),
    ]
    assert all(span.status.status_code is StatusCode.UNSET for span in spans())


def test_a_collector_receives_them(traced):
    bodies = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            bodies.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            """Quiet."""

    with HTTPServer(("127.0.0.1", 0), Collector) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        traces = to_collector(f"http://127.0.0.1:{server.server_port}/")
        client, _ = traced(["Hi"], traces)
        client.ask(PATH, chat())
        traces.flush()
        server.shutdown()
    ((path, body),) = bodies
    assert path == "/v1/traces"
    (resource,) = ExportTraceServiceRequest.FromString(body).resource_spans
    (span,) = resource.scope_spans[0].spans
    assert span.name == f"POST {PATH}"
