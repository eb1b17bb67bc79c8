"""The server: OpenAI's paths over the models that are served."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request

from toolgrove.core.errors import ToolgroveError
from toolgrove.core.messages import JSON
from toolgrove.engine.speech import Speech, speech_of
from toolgrove.serve import wire
from toolgrove.serve.asking import ask_chat, ask_completion, prompt_of
from toolgrove.serve.chat import ChatAnswer
from toolgrove.serve.completion import CompletionAnswer
from toolgrove.serve.exchange import Desk, respond
from toolgrove.serve.guard import Guard, Limits
from toolgrove.serve.metrics import Metrics
from toolgrove.serve.record import Recorder
from toolgrove.serve.refusal import RefusedError, invalid, refusal_of
from toolgrove.serve.responses import ResponsesAnswer
from toolgrove.serve.responses_wire import ResponsesRequest, chat_request
from toolgrove.serve.served import Served
from toolgrove.serve.sse import chat_events, named_events

if TYPE_CHECKING:
    from toolgrove.serve.traces import Traces


def make_app(
    served: Served,
    limits: Limits,
    recorder: Recorder | None = None,
    traces: Traces | None = None,
) -> FastAPI:
    """The app over these models. It starts and stops their scheduler."""

    @asynccontextmanager
    async def running(_app: FastAPI) -> AsyncIterator[None]:
        served.scheduler.start()
        yield
        await asyncio.to_thread(served.scheduler.stop)
        if recorder is not None:
            await asyncio.to_thread(recorder.close)

    metrics = Metrics(served.scheduler)
    desk = Desk(served, limits.timeout_s, metrics, recorder)
    app = FastAPI(title="Toolgrove", lifespan=running, docs_url=None, redoc_url=None)
    add_errors(app)
    _models(app, served)
    _answers(app, desk)
    _tokens(app, served)
    _operation(app, desk)
    app.add_middleware(Guard, limits=limits, metrics=metrics, traces=traces)
    if limits.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(limits.cors_origins),
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
        )
    return app


def add_errors(app: FastAPI) -> None:
    """Whatever goes wrong is told in OpenAI's words."""

    async def refused(_http: Request, error: Exception) -> Response:
        refusal = _as_refusal(error)
        headers = {"Retry-After": "1"} if refusal.status == 429 else None
        return JSONResponse(refusal.body(), refusal.status, headers)

    for kind in (RefusedError, ToolgroveError, RequestValidationError, HTTPException, Exception):
        app.add_exception_handler(kind, refused)


def _as_refusal(error: Exception) -> RefusedError:
    if isinstance(error, RefusedError):
        return error
    if isinstance(error, ToolgroveError):
        return refusal_of(error)
    if isinstance(error, RequestValidationError):
        return invalid(error.errors(), _all_fields())
    if isinstance(error, HTTPException):
        what = "the body cannot be read" if error.status_code == 400 else str(error.detail)
        return RefusedError(error.status_code, what)
    return RefusedError(500, "an error of the server's own; its log says more")


def _all_fields() -> list[str]:
    """The fields of all requests, to name the nearest to one that is not known."""
    kinds = [kind for kind in vars(wire).values() if isinstance(kind, type)]
    return sorted({f for kind in kinds if issubclass(kind, BaseModel) for f in kind.model_fields})


def _models(app: FastAPI, served: Served) -> None:
    @app.get("/v1/models")
    async def models() -> JSON:
        return await asyncio.to_thread(served.listed)

    @app.get("/v1/models/{name:path}")
    async def model(name: str) -> JSON:
        return await asyncio.to_thread(served.told, served.model(name))

    @app.post("/v1/load_lora_adapter")
    async def load(request: wire.LoadAdapter) -> JSON:
        name, folder = request.lora_name, Path(request.lora_path)
        if name in served.models:
            raise RefusedError(400, f'there already is a model "{name}"', param="lora_name")
        base = served.base.speech
        told = Speech(base.folder, None, None)
        try:
            speech = await asyncio.to_thread(speech_of, told, [folder])
            speech = speech if "as trained" in speech.why else base
            await _changed(served, lambda: served.scheduler.engine.load_adapter(name, folder))
        except OSError as error:
            what = f"the adapter cannot be read: {error.strerror or error}"
            raise RefusedError(400, what, param="lora_path") from error
        return await asyncio.to_thread(served.told, served.add(name, folder, speech))

    @app.post("/v1/unload_lora_adapter")
    async def unload(request: wire.UnloadAdapter) -> JSON:
        name = request.lora_name
        if served.model(name).adapter is None:
            raise RefusedError(400, f'"{name}" is no adapter', param="lora_name")
        gone = served.models.pop(name)
        await _changed(served, lambda: served.scheduler.engine.unload_adapter(name))
        return {"id": gone.name, "object": "model", "deleted": True}


async def _changed(served: Served, act: Any) -> None:
    """Something that needs the engine to be idle."""
    await asyncio.wrap_future(served.scheduler.errand(act))


def _answers(app: FastAPI, desk: Desk) -> None:
    served = desk.served

    @app.post("/v1/chat/completions")
    async def chat(request: wire.ChatRequest, http: Request) -> Response:
        ask = await asyncio.to_thread(ask_chat, request, served)
        answer = ChatAnswer(request, ask, served)
        return await respond(desk, http, request, answer, chat_events if request.stream else None)

    @app.post("/v1/completions")
    async def completions(request: wire.CompletionRequest, http: Request) -> Response:
        ask = await asyncio.to_thread(ask_completion, request, served)
        answer = CompletionAnswer(request, ask, served)
        return await respond(desk, http, request, answer, chat_events if request.stream else None)

    @app.post("/v1/responses")
    async def responses(request: ResponsesRequest, http: Request) -> Response:
        try:
            chat = chat_request(request)
        except ValidationError as error:
            raise invalid(error.errors(), _all_fields()) from error
        ask = await asyncio.to_thread(ask_chat, chat, served)
        answer = ResponsesAnswer(request, replace(ask, unused=(*ask.unused, *request.unused)))
        return await respond(desk, http, request, answer, named_events if request.stream else None)


def _tokens(app: FastAPI, served: Served) -> None:
    @app.post("/tokenize")
    async def tokenize(request: wire.TokenizeRequest) -> JSON:
        model = served.model(request.model)

        def ids() -> list[int]:
            if request.prompt is not None:
                return served.tokenizer.encode(request.prompt)
            if not request.add_generation_prompt:
                raise RefusedError(400, "prompts end with the generation prompt here")
            options = request.chat_template_kwargs
            return prompt_of(served, model, request.messages or (), request.tools, options).ids

        tokens = await asyncio.to_thread(ids)
        told: JSON = {
            "count": len(tokens),
            "max_model_len": served.scheduler.engine.context,
            "tokens": tokens,
        }
        if request.return_token_strs:
            told["token_strs"] = [served.tokenizer.decode([token]) for token in tokens]
        return told

    @app.post("/detokenize")
    async def detokenize(request: wire.DetokenizeRequest) -> JSON:
        served.model(request.model)
        size = served.tokenizer.vocab_size
        if any(token >= size for token in request.tokens):
            raise RefusedError(400, f"token ids are 0 to {size - 1}", param="tokens")
        return {"prompt": await asyncio.to_thread(served.tokenizer.decode, request.tokens)}


def _operation(app: FastAPI, desk: Desk) -> None:
    @app.get("/health")
    @app.get("/ping", include_in_schema=False)
    async def health() -> Response:
        alive = desk.served.scheduler.alive
        return JSONResponse({"status": "ok" if alive else "stopped"}, 200 if alive else 503)

    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> PlainTextResponse:
        kind = "text/plain; version=0.0.4; charset=utf-8"
        return PlainTextResponse(desk.metrics.text(), media_type=kind)
