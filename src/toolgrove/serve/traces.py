"""Spans of OpenTelemetry, one for each request (the extra ``otel``)."""

from __future__ import annotations

import os

from opentelemetry.propagate import extract
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from starlette.datastructures import Headers
from starlette.types import Scope

from toolgrove.core.messages import JSON

_OPERATIONS = {
    "/v1/chat/completions": "chat",
    "/v1/responses": "chat",
    "/v1/completions": "text_completion",
}
_TOLD = {
    "id": "gen_ai.response.id",
    "model": "gen_ai.request.model",
    "prompt_tokens": "gen_ai.usage.input_tokens",
    "completion_tokens": "gen_ai.usage.output_tokens",
}
_FAILED = 500


class Traces:
    """Makes spans and hands them to ``processor``; what is left at exit is sent then.

    A caller's trace goes on (W3C ``traceparent``). Attributes are those of OpenTelemetry's semantic
    conventions for HTTP servers and for generative AI; nothing that was said is among them.
    ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES`` are heeded.
    """

    def __init__(self, processor: SpanProcessor) -> None:
        service = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "toolgrove")}
        self._provider = TracerProvider(resource=Resource.create(service))
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("toolgrove.serve")

    def begin(self, scope: Scope) -> Span:
        """The span of a request that has come in."""
        method = scope["method"]
        carrier = dict(Headers(scope=scope).items())
        attributes = {"http.request.method": method}
        return self._tracer.start_span(
            method, extract(carrier), kind=SpanKind.SERVER, attributes=attributes
        )

    def end(self, span: Span, method: str, path: str, told: JSON) -> None:
        """The request is over; ``path`` is its route's, ``told`` the log's line about it."""
        status = told["status"]
        span.update_name(f"{method} {path}")
        span.set_attribute("http.route", path)
        span.set_attribute("http.response.status_code", status)
        if path in _OPERATIONS:
            span.set_attribute("gen_ai.operation.name", _OPERATIONS[path])
        for field, attribute in _TOLD.items():
            if field in told:
                span.set_attribute(attribute, told[field])
        if told.get("finish"):
            span.set_attribute("gen_ai.response.finish_reasons", told["finish"].split(","))
        if status >= _FAILED:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def flush(self) -> None:
        """Sends what has not been sent yet."""
        self._provider.force_flush()


def to_collector(url: str) -> Traces:
    """Spans go to an OTLP collector over HTTP, such as ``http://localhost:4318``."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces")
    return Traces(BatchSpanProcessor(exporter))
