"""What a server counts, for Prometheus."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from toolgrove.serve.answer import Usage
from toolgrove.serve.scheduler import Scheduler

_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)


class Metrics:
    """Counters of one server; two servers in one process share nothing."""

    def __init__(self, scheduler: Scheduler | None = None) -> None:
        self._registry = CollectorRegistry()
        home = self._registry
        self._requests = Counter(
            "toolgrove_requests", "Requests by path and status.", ["path", "status"], registry=home
        )
        self._tokens = Counter(
            "toolgrove_tokens",
            "Tokens read, read from the cache, written.",
            ["kind"],
            registry=home,
        )
        self._first = Histogram(
            "toolgrove_first_token_seconds", "Time to the first token.", buckets=_SECONDS,
            registry=home,
        )  # fmt: skip
        self._whole = Histogram(
            "toolgrove_request_seconds", "Time of a whole request.", ["path"], buckets=_SECONDS,
            registry=home,
        )  # fmt: skip
        if scheduler is None:
            return
        running = Gauge("toolgrove_running", "Replies that are going on.", registry=home)
        running.set_function(lambda: scheduler.load.running)
        waiting = Gauge("toolgrove_waiting", "Jobs that wait.", registry=home)
        waiting.set_function(lambda: scheduler.load.waiting)

    def answered(self, path: str, status: int, seconds: float) -> None:
        """Counts a request."""
        self._requests.labels(path, str(status)).inc()
        self._whole.labels(path).observe(seconds)

    def generated(self, usage: Usage, first_s: float | None) -> None:
        """Counts the tokens of a request; ``first_s``: how long the first took."""
        self._tokens.labels("prompt").inc(usage.prompt)
        self._tokens.labels("cached").inc(usage.cached)
        self._tokens.labels("completion").inc(usage.completion)
        if first_s is not None:
            self._first.observe(first_s)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)
