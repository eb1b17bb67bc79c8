"""What an evaluation measures, and how."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from toolgrove.config.settings import CommandSettings


class EvalSettings(CommandSettings):
    """What to measure, and how."""

    model: str | None = None
    """The model: a folder, hf:org/name, ms:org/name or pypi:package."""

    adapters: list[Path] = []
    """Folders of trained adapters; the first one is switched on."""

    template: str | None = None
    """Chat template by name; left out, it is found from the model's folder; jinja: the folder's
    own, whatever it is."""

    agent_template: str | None = None
    """How tools and calls are written, by name; left out, as the model's own template does."""

    infer_backend: Literal["auto", "local", "vllm", "openvino", "remote"] = "auto"
    """What generates: local (transformers), vllm (here, or the vLLM server at --url, fed token
    ids), openvino, remote (the server at --url, in its own dialect); auto: remote where there is a
    --url, else local."""

    engine_options: dict[str, Any] = {}
    """Settings of vLLM's or OpenVINO's own, as tensor_parallel_size=2."""

    url: str | None = None
    """Ask a server with OpenAI's chat API instead of a model: http://localhost:8000."""

    served_model: str | None = None
    """The model's name at the server; left out, the first one that the server has."""

    api_key: str | None = Field(default=None, repr=False)
    """Key for the server."""

    parallel: int = Field(default=8, ge=1)
    """Requests to the server at once."""

    suite: list[str] = Field(default=["bfcl"], min_length=1)
    """What to measure: bfcl, agent (the calls of a data set), behaviour, evalscope."""

    categories: list[str] = Field(default=["simple_python", "multiple"], min_length=1)
    """BFCL's categories; simple_python#120 takes 120 of its cases, drawn by the seed. ast, python,
    non_python, live, non_live, multi_turn and all stand for several."""

    dataset: list[str] = []
    """Conversations for the suite agent: their assistant turns are what is wanted."""

    datasets: list[str] = []
    """Benchmarks for the suite evalscope, by EvalScope's names."""

    evalscope: str | None = None
    """The Python of the environment that EvalScope is installed in; left out, this one."""

    evalscope_args: dict[str, object] = {}
    """More of EvalScope's task configuration."""

    limit: int | None = Field(default=None, ge=1)
    """At most so many conversations of a data set, or cases of each category of behaviour and of
    each benchmark of EvalScope."""

    seed: int = 42
    """Seed that draws the cases."""

    max_new_tokens: int = Field(default=512, ge=1)
    """Longest reply in tokens; a reply that does not end by itself counts as badly formed."""

    strict: bool = False
    """Hold calls to their tools' schemas while they are generated (needs the extra grammar)."""

    batch_size: int = Field(default=64, ge=1)
    """Cases that the model is asked at once; they are written to disk as they end."""

    processes: int = Field(default=1, ge=1)
    """Processes that share the cases, each with the model in its memory: on a CPU, as many as there
    are cores ask faster than one with as many threads."""

    world_timeout_s: float = Field(default=60.0, gt=0)
    """Longest time for a call in a simulated world; one that takes longer ends the case."""

    torch_dtype: str = "auto"
    """Number format to compute in; auto takes the fastest sound one of this device."""

    output_dir: Path = Path("output/eval")
    """Folder for cases.jsonl (every reply and verdict), report.json and report.html."""

    @property
    def backend(self) -> str:
        """What generates, ``auto`` decided."""
        decided = "remote" if self.url else "local"
        return decided if self.infer_backend == "auto" else self.infer_backend
