"""Serving through OpenVINO GenAI: GGUF files and OpenVINO's own format, fast on CPUs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.engine.base import Finish, check_prompt
from toolgrove.engine.growing import Growing
from toolgrove.engine.live import Job, Piece, Scored

if TYPE_CHECKING:
    from toolgrove.encoding.tokenizer import Tokenizer

_IR = "openvino_model.xml"
_THREADS = "INFERENCE_NUM_THREADS"


class _Going(NamedTuple):
    """A job at work: OpenVINO's hold on it, and its text so far."""

    handle: Any
    reply: Growing


def weights_for(folder: Path) -> Path | None:
    """What OpenVINO loads of a model folder: its own format, or the one GGUF file; else None."""
    if (folder / _IR).is_file():
        return folder
    files = sorted(folder.glob("*.gguf"))
    return files[0] if len(files) == 1 else None


class OpenVinoLive:
    """Serves a GGUF file or a folder of OpenVINO's format. ``options``: device (CPU) and
    OpenVINO's own properties, such as INFERENCE_NUM_THREADS.

    Log-probabilities are of the chosen tokens only. Adapters must be merged beforehand. Replies are
    not held to grammars: OpenVINO GenAI 2026.4 reads an older notation of structural tags, and one
    that it cannot read ends every reply that is going on.
    """

    holds_grammars = False

    def __init__(
        self,
        weights: Path,
        tok: Tokenizer,
        context: int,
        options: Mapping[str, Any],
        cache_gb: int = 1,
    ) -> None:
        try:
            import openvino_genai as genai  # pyright: ignore[reportMissingImports]
        except ModuleNotFoundError as error:
            raise ConfigError(
                '"openvino-genai" is not installed', hint="pip install 'toolgrove[openvino]'"
            ) from error
        if str(options.get(_THREADS)) == "1":
            raise ConfigError(
                "with one thread, OpenVINO GenAI 2026.4 ends the whole process",
                where=_THREADS,
                hint="2 or more, or leave it out",
            )
        scheduler = genai.SchedulerConfig()
        scheduler.cache_size = cache_gb
        scheduler.enable_prefix_caching = True
        properties = {key: value for key, value in options.items() if key != "device"}
        try:
            self._pipe: Any = genai.ContinuousBatchingPipeline(
                str(weights), scheduler, str(options.get("device", "CPU")), properties
            )
        except RuntimeError as error:
            first = str(error).strip().rpartition("\n")[2]
            raise ModelError(
                f"OpenVINO cannot load it: {first}",
                where=str(weights),
                hint="of GGUF files it loads f16 and q8_0: toolgrove export --gguf_type f16",
            ) from error
        self._genai, self._tok, self._context = genai, tok, context
        self._going: dict[int, _Going] = {}

    @property
    def context(self) -> int:
        """The most tokens that a prompt and its reply may have together."""
        return self._context

    def prepare(self, job: Job) -> tuple[Job, Any]:
        """The job with OpenVINO's settings for it; ModelError for what OpenVINO cannot do."""
        check_prompt(job.prompt, self._context)
        if job.adapter is not None:
            raise ModelError(
                "the OpenVINO engine has no adapters", hint="merge it: toolgrove export"
            )
        if job.grammar is not None:
            raise ModelError("the OpenVINO engine holds no reply to a grammar")
        if job.bias:
            raise ModelError("the OpenVINO engine has no logit_bias")
        if job.top:
            raise ModelError(
                "the OpenVINO engine tells the log-probabilities of chosen tokens only"
            )
        config = self._genai.GenerationConfig()
        sampling, known = job.sampling, self._tok.control_ids
        config.max_new_tokens = min(sampling.max_new_tokens, self._context - len(job.prompt))
        config.ignore_eos = False
        config.stop_token_ids = {known[stop] for stop in sampling.stop if stop in known}
        config.do_sample = sampling.temperature > 0
        if config.do_sample:
            config.temperature, config.top_p = sampling.temperature, sampling.top_p
            config.top_k = sampling.top_k or (1 << 62)
            config.min_p = job.min_p
            config.rng_seed = (sampling.seed or 0) % (1 << 63)
        config.presence_penalty, config.frequency_penalty = job.presence, job.frequency
        config.repetition_penalty = job.repetition
        config.logprobs = 0 if job.top is None else 1
        return job, config

    def add(self, number: int, prepared: tuple[Job, Any]) -> None:
        """Takes a job in."""
        import numpy
        import openvino  # pyright: ignore[reportMissingImports]

        job, config = prepared
        ids = openvino.Tensor(numpy.array([job.prompt], dtype=numpy.int64))
        try:
            handle = self._pipe.add_request(number, ids, config)
        except RuntimeError as error:
            first = str(error).strip().rpartition("\n")[2]
            raise ModelError(f"OpenVINO refuses: {first}") from error
        self._going[number] = _Going(handle, Growing(number, job, self._tok))

    def drop(self, number: int) -> None:
        """Forgets a job, finished or not."""
        going = self._going.pop(number, None)
        if going is not None:
            going.handle.stop()

    def step(self) -> list[Piece]:
        """The next token of every reply."""
        self._pipe.step()
        pieces: list[Piece] = []
        for number, (handle, reply) in list(self._going.items()):
            while handle.can_read() and not reply.ended:
                for output in handle.read().values():
                    pieces.append(
                        reply.take(
                            list(output.generated_ids),
                            self._finish(output),
                            _scores(output, reply.job),
                        )
                    )
            if reply.ended:
                self.drop(number)
        return pieces

    def load_adapter(self, name: str, folder: Path) -> None:
        """ModelError: OpenVINO's adapters are of another format."""
        raise ModelError(
            f'"{name}": the OpenVINO engine loads no adapters',
            where=str(folder),
            hint="merge it: toolgrove export --merge_lora true --to_gguf true",
        )

    def unload_adapter(self, name: str) -> None:
        """ModelError: there are no adapters."""
        raise ModelError(f'no adapter "{name}": the OpenVINO engine has none')

    def _finish(self, output: Any) -> Finish | None:
        reasons = self._genai.GenerationFinishReason
        if output.finish_reason == reasons.NONE:
            return None
        return Finish.LENGTH if output.finish_reason == reasons.LENGTH else Finish.STOP


def _scores(output: Any, job: Job) -> list[Scored]:
    if job.top is None:
        return []
    pairs = zip(output.generated_ids, output.generated_log_probs, strict=True)
    return [Scored(int(token), float(value)) for token, value in pairs]
