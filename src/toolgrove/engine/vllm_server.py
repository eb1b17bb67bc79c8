"""Serving through a vLLM server elsewhere, fed token ids and structural tags over HTTP."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Iterator
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.errors import ModelError
from toolgrove.core.messages import JSON
from toolgrove.engine.base import Finish, check_prompt
from toolgrove.engine.growing import Growing
from toolgrove.engine.http import Address, connect, error_of, events, fetch
from toolgrove.engine.live import Job, Piece, Scored
from toolgrove.engine.vllm_live import settings_of

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer

_TURN_S = 0.1
"""How long a step waits for something to arrive."""


class _Arrived(NamedTuple):
    number: int
    event: JSON | Exception | None


class VllmServer:
    """Puts jobs to ``/v1/completions`` of a server that answers with token ids, as vLLM does.

    ``model`` is the name that the server knows the base model by (None: its first). Adapters are
    loaded over there, where the server allows it (VLLM_ALLOW_RUNTIME_LORA_UPDATING).
    """

    holds_grammars = True

    def __init__(self, address: Address, tok: Tokenizer, model: str | None = None) -> None:
        listed: Any = fetch(address, "/v1/models")
        try:
            models = {str(entry["id"]): entry for entry in listed["data"]}
            self._model = model or next(iter(models))
            self._context = int(models[self._model].get("max_model_len") or 1 << 30)
        except (KeyError, TypeError, StopIteration) as error:
            known = f"it has {', '.join(models)}" if "models" in locals() else "see its log"
            raise ModelError(
                f'the server has no model "{model}"', where=address.url, hint=known
            ) from error
        self._address, self._tok = address, tok
        self._replies: dict[int, Growing] = {}
        self._open: dict[int, HTTPConnection] = {}
        self._arrived: queue.SimpleQueue[_Arrived] = queue.SimpleQueue()

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        return self._context

    def prepare(self, job: Job) -> Job:
        """The job itself; ModelError for a prompt that is empty or too long."""
        check_prompt(job.prompt, self._context)
        return job

    def add(self, number: int, prepared: Job) -> None:
        """Sends a job; ModelError when the server refuses it."""
        connection, answer = connect(self._address, "/v1/completions", self._body(prepared))
        self._replies[number] = Growing(number, prepared, self._tok)
        self._open[number] = connection
        threading.Thread(target=self._listen, args=(number, answer), daemon=True).start()

    def drop(self, number: int) -> None:
        """Forgets a job, finished or not; the server notices that nobody listens."""
        self._replies.pop(number, None)
        connection = self._open.pop(number, None)
        if connection is not None and connection.sock is not None:
            connection.sock.close()

    def step(self) -> list[Piece]:
        """What has arrived; waits a moment for the first of it. ModelError when a reply broke
        off."""
        pieces: list[Piece] = []
        wait = _TURN_S
        while True:
            try:
                arrived = self._arrived.get(timeout=wait)
            except queue.Empty:
                return pieces
            wait = 0
            reply = self._replies.get(arrived.number)
            if reply is not None:
                pieces += self._piece(reply, arrived.event)
                if reply.ended:
                    self.drop(arrived.number)

    def load_adapter(self, name: str, folder: Path) -> None:
        """Has the server load an adapter from a folder that it can see."""
        body = {"lora_name": name, "lora_path": str(folder.absolute())}
        fetch(self._address, "/v1/load_lora_adapter", body)

    def unload_adapter(self, name: str) -> None:
        """Has the server forget an adapter."""
        fetch(self._address, "/v1/unload_lora_adapter", {"lora_name": name})

    def _body(self, job: Job) -> JSON:
        body: JSON = {
            **{
                key: value
                for key, value in settings_of(job, self._tok).items()
                if value is not None
            },
            "model": job.adapter or self._model,
            "prompt": list(job.prompt),
            "stream": True,
            "return_token_ids": True,
            "skip_special_tokens": False,
        }
        if job.grammar is not None:
            body["structured_outputs"] = {"structural_tag": json.dumps(job.grammar)}
        if job.top is not None:
            body |= {"logprobs": job.top, "return_tokens_as_token_ids": True}
        if job.bias:
            body["logit_bias"] = {str(token): value for token, value in job.bias.items()}
        return body

    def _listen(self, number: int, answer: HTTPResponse) -> None:
        try:
            for event in events(answer):
                self._arrived.put(_Arrived(number, event))
            self._arrived.put(_Arrived(number, None))
        except (OSError, HTTPException, ValueError, AttributeError) as error:
            self._arrived.put(_Arrived(number, error))

    def _piece(self, reply: Growing, event: JSON | Exception | None) -> Iterator[Piece]:
        if event is None or isinstance(event, Exception):
            raise ModelError(f"the reply broke off: {event}", where=self._address.url)
        if "error" in event:
            raise ModelError(error_of(event), where=self._address.url)
        for choice in event.get("choices") or ():
            tokens = [int(token) for token in choice.get("token_ids") or ()]
            reason = choice.get("finish_reason")
            finish = None
            if reason:
                finish = Finish.LENGTH if reason == "length" else Finish.STOP
            if tokens or finish is not None:
                yield reply.take(
                    tokens, finish, _scores(choice.get("logprobs"), tokens, reply.job.top)
                )


def _scores(told: Any, tokens: list[int], most: int | None) -> list[Scored]:
    """The log-probabilities of the tokens, with as many of the likeliest as were asked for: vLLM
    tells the chosen one besides."""
    if not told or most is None:
        return []
    scores: list[Scored] = []
    for token, value, top in zip(tokens, told["token_logprobs"], told["top_logprobs"], strict=True):
        pairs = [(_token(key), float(number)) for key, number in (top or {}).items()]
        best = sorted(pairs, key=lambda pair: -pair[1])[:most]
        scores.append(Scored(token, float(value), tuple(best)))
    return scores


def _token(key: str) -> int:
    return int(key.removeprefix("token_id:"))
