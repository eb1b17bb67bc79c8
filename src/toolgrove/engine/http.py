"""Requests to OpenAI-compatible servers: JSON whole, and as a stream of events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.core.messages import JSON

_HINTS = {401: "give --api_key", 403: "give --api_key", 404: "check the address and the model"}


class Address(NamedTuple):
    """Where a server is, and the key that it asks for. ``url`` ends before ``/v1``."""

    url: str
    api_key: str | None = None
    timeout_s: float = 600.0

    @property
    def headers(self) -> dict[str, str]:
        """What goes with every request."""
        headers = {"Content-Type": "application/json"}
        return headers | {"Authorization": f"Bearer {self.api_key}"} if self.api_key else headers


class StatusError(ModelError):
    """An answer with another status than 200: which one, and what the server said."""

    def __init__(self, address: Address, path: str, status: int, said: str) -> None:
        super().__init__(
            f"the server answered with status {status}: {said}",
            where=address.url + path,
            hint=_HINTS.get(status),
        )
        self.status, self.said = status, said


def address_of(url: str, api_key: str | None = None) -> Address:
    """The address of a server as a user writes it; ConfigError when it is none."""
    if not url.startswith(("http://", "https://")) or not urlsplit(url).hostname:
        raise ConfigError(f"not an address: {url}", hint="write it as http://localhost:8000")
    return Address(url.rstrip("/").removesuffix("/v1"), api_key)


def fetch(address: Address, path: str, body: JSON | None = None) -> Any:
    """The JSON that a path answers with; None where it is plain text. ModelError otherwise."""
    connection, answer = connect(address, path, body)
    try:
        text = answer.read()
    except (OSError, HTTPException) as error:
        raise _silent(address, error) from error
    finally:
        connection.close()
    try:
        return json.loads(text)
    except ValueError:
        return None


def connect(
    address: Address, path: str, body: JSON | None = None
) -> tuple[HTTPConnection, HTTPResponse]:
    """Sends a request (GET without a body); the answer, its body not read yet. StatusError for any
    status but 200, ModelError when there is no answer."""
    parts = urlsplit(address.url)
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=address.timeout_s)
    try:
        sent = None if body is None else json.dumps(body)
        method = "GET" if body is None else "POST"
        connection.request(method, parts.path + path, sent, address.headers)
        answer = connection.getresponse()
        if answer.status == 200:
            return connection, answer
        said = answer.read(100_000)
    except (OSError, HTTPException) as error:
        connection.close()
        raise _silent(address, error) from error
    connection.close()
    raise StatusError(address, path, answer.status, _said(said))


def events(answer: HTTPResponse) -> Iterator[JSON]:
    """The JSON events of a stream, up to its end mark."""
    for line in answer:
        if not line.startswith(b"data:"):
            continue
        data = line[5:].strip()
        if data == b"[DONE]":
            return
        yield json.loads(data)


def error_of(value: Any) -> str:
    """What an error's JSON says, on one line."""
    for key in ("error", "message", "detail"):
        if isinstance(value, dict) and key in value:
            value = value[key]
    return " ".join(str(value).split())[:300]


def _said(body: bytes) -> str:
    text = body.decode("utf-8", "replace")
    try:
        return error_of(json.loads(text))
    except ValueError:
        return " ".join(text.split())[:300]


def _silent(address: Address, error: Exception) -> ModelError:
    return ModelError(
        f"no answer: {error or type(error).__name__}",
        where=address.url,
        hint="is the server running there?",
    )
