"""What the processes of a run share: named presets, and files of DeepSpeed and accelerate."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from toolgrove.config.places import read_document
from toolgrove.core.errors import ConfigError, did_you_mean
from toolgrove.train.settings import TrainSettings
from toolgrove.train.tuned_settings import PROMPTS

logger = logging.getLogger(__name__)


class Kind(StrEnum):
    """Which library's way of sharing: torch's DDP, torch's FSDP2, DeepSpeed's ZeRO."""

    DDP = "ddp"
    FSDP = "fsdp"
    DEEPSPEED = "deepspeed"


@dataclass(frozen=True, slots=True)
class Parallel:
    """A way of sharing, with its options: an ``fsdp_config`` of transformers, or DeepSpeed's.

    ``processes`` on each of ``machines`` are what a configuration file of accelerate asks for.
    """

    kind: Kind
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])
    processes: int | None = None
    machines: int | None = None

    @property
    def stage(self) -> int:
        """ZeRO's stage; 0 for others. From 3 on, weights are shared out too."""
        return int(self.options.get("zero_optimization", {}).get("stage", 0))

    @property
    def shards_weights(self) -> bool:
        """Whether each process holds only a part of the weights."""
        return self.kind is Kind.FSDP or self.stage >= 3


def _zero(stage: int, *, offload: bool = False) -> Parallel:
    """A ZeRO stage; "auto" is what transformers fills in."""
    zero: dict[str, Any] = {"stage": stage, "contiguous_gradients": True, "overlap_comm": True}
    if stage == 3:
        zero |= {
            "reduce_bucket_size": "auto",
            "stage3_prefetch_bucket_size": "auto",
            "stage3_param_persistence_threshold": "auto",
        }
    if offload:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
        if stage == 3:
            zero["offload_param"] = {"device": "cpu", "pin_memory": True}
    return Parallel(Kind.DEEPSPEED, _filled({"zero_optimization": zero}))


def _filled(config: Mapping[str, Any]) -> dict[str, Any]:
    """A DeepSpeed configuration with what the training loop decides left to it."""
    left = ("train_batch_size", "train_micro_batch_size_per_gpu", "gradient_accumulation_steps")
    given: dict[str, Any] = dict.fromkeys((*left, "gradient_clipping"), "auto")
    # the optimizer is torch's, which also runs on offloaded weights; DeepSpeed's need a compiler
    given |= {"zero_allow_untested_optimizer": True, "zero_force_ds_cpu_optimizer": False}
    return {**given, **config}


PRESETS: dict[str, Callable[[], Parallel]] = {
    "ddp": lambda: Parallel(Kind.DDP),
    "fsdp2": lambda: Parallel(Kind.FSDP),
    "fsdp2_offload": lambda: Parallel(Kind.FSDP, {"cpu_offload": True}),
    "zero1": lambda: _zero(1),
    "zero2": lambda: _zero(2),
    "zero2_offload": lambda: _zero(2, offload=True),
    "zero3": lambda: _zero(3),
    "zero3_offload": lambda: _zero(3, offload=True),
}
"""What ``--parallel`` knows by name."""


ALONE = ("adalora", *PROMPTS)
"""Tuners whose training keeps scores or encoders besides the adapter."""


def parallel_of(settings: TrainSettings) -> Parallel:
    """How the recipe wants the work shared; ConfigError for an unknown name or unusable file."""
    name = settings.parallel or ("zero2" if settings.sequence_parallel_size > 1 else "ddp")
    if name in PRESETS:
        chosen = PRESETS[name]()
    elif name.endswith((".json", ".yaml", ".yml")):
        chosen = _from_file(Path(name).expanduser())
    else:
        near = did_you_mean(name, PRESETS)
        known = f"presets: {', '.join(PRESETS)}; or a .json or .yaml file"
        raise ConfigError(f'parallel: unknown "{name}"', hint=f"{near} {known}" if near else known)
    refuse_what_cannot_be(settings, chosen)
    return chosen


def refuse_what_cannot_be(settings: TrainSettings, parallel: Parallel) -> None:
    """ConfigError for a library that is missing, or settings that do not go together."""
    shown = settings.parallel or parallel.kind.value
    if settings.context_parallel_size > 1:
        raise ConfigError(
            "context_parallel_size: torch's ring attention computes on GPUs only, and is not"
            " taken up here yet",
            hint="--sequence_parallel_size shares sequences by attention heads (Ulysses)",
        )
    if settings.sequence_parallel_size > 1:
        _refuse_without_heads(settings, parallel)
    if parallel.kind is Kind.DEEPSPEED and find_spec("deepspeed") is None:
        raise ConfigError(
            f"parallel: {shown} needs DeepSpeed, which is not installed",
            hint="pip install toolgrove[deepspeed]; or --parallel fsdp2, which needs nothing more",
        )
    if parallel.kind is not Kind.DDP and settings.tuner_type in ALONE:
        raise ConfigError(
            f"parallel: {shown} cannot go with {settings.tuner_type}, which keeps more than"
            " weights",
            hint="--parallel ddp, or another tuner_type",
        )
    if settings.quant_bits and parallel.shards_weights:
        raise ConfigError(
            f"parallel: {shown} cannot share out weights of {settings.quant_bits} bits",
            hint="--parallel zero2 or ddp, or leave quant_bits out",
        )
    if parallel.shards_weights and settings.new_special_tokens and settings.tuner_type == "lora":
        raise ConfigError(
            f"parallel: {shown} cannot share out single rows of the embeddings",
            hint="--parallel zero2 or ddp, or leave new_special_tokens out",
        )


def _refuse_without_heads(settings: TrainSettings, parallel: Parallel) -> None:
    """ConfigError for what Ulysses, which shares sequences by heads, cannot go with."""
    size = f"sequence_parallel_size {settings.sequence_parallel_size}"
    if parallel.kind is not Kind.DEEPSPEED:
        raise ConfigError(f"{size} is DeepSpeed's: it needs ZeRO", hint="--parallel zero1 to zero3")
    if settings.forest == "on" or settings.packing or settings.streaming:
        raise ConfigError(
            f"{size} computes rows one beside the other, not in forests, packs or streams",
            hint="leave --forest on, --packing and --streaming out",
        )
    if settings.enable_channel_loss:
        raise ConfigError(f"{size} cannot tell channels apart", hint="no --enable_channel_loss")
    if settings.tokens_per_batch:
        raise ConfigError(
            f"{size} needs batches of equally many rows",
            hint="--per_device_train_batch_size in place of --tokens_per_batch",
        )


def processes_here(settings: TrainSettings) -> int:
    """How many processes this machine starts: as the recipe says, else as accelerate's file."""
    if "nproc_per_node" in settings.model_fields_set or settings.nproc_per_node > 1:
        return settings.nproc_per_node
    return parallel_of(settings).processes or settings.nproc_per_node


def _from_file(file: Path) -> Parallel:
    if not file.is_file():
        raise ConfigError("no such file", where=str(file), hint=f"presets: {', '.join(PRESETS)}")
    if file.suffix == ".json":
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ConfigError(f"not JSON: {error}", where=str(file)) from error
    else:
        values = read_document(file).values
    if not isinstance(values, Mapping):
        raise ConfigError("not a mapping of keys to values", where=str(file))
    if "distributed_type" in values or "compute_environment" in values:
        return _from_accelerate(values, file)
    if not any(key in values for key in ("zero_optimization", "train_batch_size", "bf16", "fp16")):
        raise ConfigError(
            "neither a configuration of DeepSpeed nor one of accelerate",
            where=str(file),
            hint='the first has "zero_optimization", the second "distributed_type"',
        )
    return Parallel(Kind.DEEPSPEED, _filled(values))


_TYPES = {
    "NO": Kind.DDP,
    "MULTI_CPU": Kind.DDP,
    "MULTI_GPU": Kind.DDP,
    "MULTI_XPU": Kind.DDP,
    "MULTI_NPU": Kind.DDP,
    "FSDP": Kind.FSDP,
    "DEEPSPEED": Kind.DEEPSPEED,
}
_READ = frozenset(
    {"distributed_type", "num_processes", "num_machines", "fsdp_config", "deepspeed_config"}
)
_REFUSED = ("megatron_lm_config", "parallelism_config", "fp8_config", "dynamo_config", "tpu_name")


def _from_accelerate(values: Mapping[str, Any], file: Path) -> Parallel:
    """A file that ``accelerate config`` wrote; what is not taken from it is said once."""
    name = str(values.get("distributed_type", "NO"))
    kind = _TYPES.get(name)
    if kind is None:
        known = f"distributed_type can be {', '.join(_TYPES)}"
        raise ConfigError(f"{name} is not known here", where=str(file), hint=known)
    for key in _REFUSED:
        if values.get(key):
            hint = "context and sequence parallelism have flags of their own"
            raise ConfigError(f"{key} is not taken from such a file", where=str(file), hint=hint)
    idle = [key for key, value in values.items() if key not in _READ and value]
    if idle:
        logger.info("%s: left to this command's own flags: %s", file, ", ".join(sorted(idle)))
    machines = int(values.get("num_machines") or 1)
    processes = max(1, int(values.get("num_processes") or 1) // machines)
    options: Mapping[str, Any] = {}
    if kind is Kind.FSDP:
        options = _fsdp_options(values.get("fsdp_config") or {}, file)
    elif kind is Kind.DEEPSPEED:
        options = _deepspeed_options(values.get("deepspeed_config") or {}, file)
    return Parallel(kind, options, processes, machines)


_FSDP_KNOWN = ("reshard_after_forward", "cpu_offload", "transformer_layer_cls_to_wrap")
_FSDP_IDLE = (
    "version",
    "auto_wrap_policy",
    "state_dict_type",
    "cpu_ram_efficient_loading",
    "activation_checkpointing",
)


def _fsdp_options(values: Mapping[str, Any], file: Path) -> dict[str, Any]:
    plain = {key.removeprefix("fsdp_"): value for key, value in values.items()}
    if "offload_params" in plain:
        plain["cpu_offload"] = plain.pop("offload_params")
    if int(plain.get("version", 2)) != 2:
        raise ConfigError(
            "FSDP1 is gone from torch's future and from here", where=str(file), hint="version: 2"
        )
    if plain.get("activation_checkpointing"):
        raise ConfigError(
            "activation_checkpointing is not taken from here",
            where=str(file),
            hint="--gradient_checkpointing true does the same",
        )
    for key in plain:
        if key not in (*_FSDP_KNOWN, *_FSDP_IDLE):
            raise ConfigError(f'fsdp_config: unknown key "{key}"', where=str(file))
    return {key: plain[key] for key in _FSDP_KNOWN if key in plain}


def _deepspeed_options(values: Mapping[str, Any], file: Path) -> dict[str, Any]:
    """What ``accelerate config`` asked about DeepSpeed, or the file that it names instead."""
    named = values.get("deepspeed_config_file")
    if named:
        beside = Path(str(named)).expanduser()
        return dict(_from_file(beside if beside.is_absolute() else file.parent / beside).options)
    stage = int(values.get("zero_stage", 2))
    zero: dict[str, Any] = dict(_zero(stage).options["zero_optimization"])
    for what in ("optimizer", "param"):
        device = str(values.get(f"offload_{what}_device", "none")).lower()
        if device != "none":
            zero[f"offload_{what}"] = {"device": device}
    return _filled({"zero_optimization": zero})
