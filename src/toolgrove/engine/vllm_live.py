"""Serving through vLLM in this process, fed token ids and structural tags."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.engine.base import Finish, check_prompt
from toolgrove.engine.growing import Growing
from toolgrove.engine.live import Job, Piece, Scored

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer


class VllmLive:
    """Serves a model folder. ``options`` are vLLM's own engine arguments: tensor_parallel_size,
    distributed_executor_backend=ray, gpu_memory_utilization, max_model_len ...

    Adapters of ``max_lora_rank`` (an option; vLLM's own default is 16) are loaded with the first
    request that uses them.
    """

    holds_grammars = True

    def __init__(
        self, folder: Path, tok: Tokenizer, options: Mapping[str, Any], *, adapters: bool = True
    ) -> None:
        try:
            from vllm import EngineArgs, LLMEngine  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            raise ConfigError(
                '"vllm" is not installed', hint="pip install 'toolgrove[vllm]', or --vllm_url"
            ) from error
        given = {"enable_lora": adapters, "disable_log_stats": True, **options}
        try:
            self._engine: Any = LLMEngine.from_engine_args(EngineArgs(model=str(folder), **given))
        except (TypeError, ValueError) as error:
            first = str(error).strip().partition("\n")[0]
            raise ConfigError(f"vLLM refuses: {first}", hint="check --vllm_options") from error
        self._tok = tok
        self._replies: dict[int, Growing] = {}
        self._adapters: dict[str, Any] = {}
        self._numbered = 0

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        return int(self._engine.model_config.max_model_len)

    def prepare(self, job: Job) -> tuple[Job, Any]:
        """The job with vLLM's own settings for it; ModelError for one that cannot be done."""
        check_prompt(job.prompt, self.context)
        if job.adapter is not None and job.adapter not in self._adapters:
            raise ModelError(f'no adapter "{job.adapter}"')
        return job, sampling_of(job, self._tok)

    def add(self, number: int, prepared: tuple[Job, Any]) -> None:
        """Takes a job in."""
        job, params = prepared
        try:
            self._engine.add_request(
                str(number),
                {"prompt_token_ids": list(job.prompt)},
                params,
                lora_request=self._adapters.get(job.adapter or ""),
            )
        except ValueError as error:
            raise ModelError(f"vLLM refuses: {error}") from error
        self._replies[number] = Growing(number, job, self._tok)

    def drop(self, number: int) -> None:
        """Forgets a job, finished or not."""
        if self._replies.pop(number, None) is not None:
            self._engine.abort_request([str(number)])

    def step(self) -> list[Piece]:
        """What vLLM has made of all jobs."""
        pieces: list[Piece] = []
        for output in self._engine.step():
            reply = self._replies.get(_number(output.request_id))
            if reply is None:
                continue
            said = output.outputs[0]
            finish = _finish(said.finish_reason) if output.finished else None
            piece = reply.take(list(said.token_ids), finish, _scores(said, reply.job))
            cached = int(output.num_cached_tokens or 0)
            pieces.append(piece._replace(cached=cached))
            if piece.finish is not None:
                self.drop(reply.number)
        return pieces

    def load_adapter(self, name: str, folder: Path) -> None:
        """Remembers a trained adapter under a name."""
        from vllm.lora.request import LoRARequest  # pyright: ignore[reportMissingImports]

        if name in self._adapters:
            raise ModelError(f'there already is an adapter "{name}"', hint="unload it first")
        if not (folder / "adapter_config.json").is_file():
            raise ModelError("no adapter_config.json in this folder", where=str(folder))
        self._numbered += 1
        self._adapters[name] = LoRARequest(name, self._numbered, str(folder))

    def unload_adapter(self, name: str) -> None:
        """Forgets an adapter."""
        found = self._adapters.pop(name, None)
        if found is None:
            raise ModelError(f'no adapter "{name}"')
        self._engine.remove_lora(found.lora_int_id)


def sampling_of(job: Job, tok: Tokenizer) -> Any:
    """vLLM's own settings of how a job is drawn and held."""
    from vllm import SamplingParams  # pyright: ignore[reportMissingImports]
    from vllm.sampling_params import (  # pyright: ignore[reportMissingImports]
        RequestOutputKind,
        StructuredOutputsParams,
    )

    held = None
    if job.grammar is not None:
        held = StructuredOutputsParams(structural_tag=json.dumps(job.grammar))
    return SamplingParams(
        **settings_of(job, tok),
        logprobs=job.top,
        detokenize=False,
        structured_outputs=held,
        output_kind=RequestOutputKind.DELTA,
        logit_bias=dict(job.bias) or None,
    )


def settings_of(job: Job, tok: Tokenizer) -> dict[str, Any]:
    """How a job is drawn, in the words of vLLM's requests and its Python interface."""
    sampling, known = job.sampling, tok.control_ids
    return {
        "max_tokens": sampling.max_new_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": job.min_p,
        "seed": sampling.seed,
        "presence_penalty": job.presence,
        "frequency_penalty": job.frequency,
        "repetition_penalty": job.repetition,
        "stop_token_ids": [known[stop] for stop in sampling.stop if stop in known],
    }


def _number(request: str) -> int:
    """Our number in vLLM's request id, to which it may add an ending of its own."""
    return int(request.partition("-")[0])


def _finish(reason: str | None) -> Finish:
    return Finish.LENGTH if reason == "length" else Finish.STOP


def _scores(said: Any, job: Job) -> Sequence[Scored]:
    if job.top is None or not said.logprobs:
        return ()
    scores: list[Scored] = []
    for token, places in zip(said.token_ids, said.logprobs, strict=True):
        best = sorted(places.items(), key=lambda pair: -pair[1].logprob)[: job.top]
        top = tuple((int(other), float(place.logprob)) for other, place in best)
        scores.append(Scored(int(token), float(places[token].logprob), top))
    return scores
