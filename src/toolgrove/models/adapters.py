"""Adapters on a model: adding fresh ones, loading trained ones."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from toolgrove.core.errors import ConfigError, ModelError, did_you_mean
from toolgrove.models.scorer import is_scorer
from toolgrove.models.targets import ALL_LINEAR, check_names, check_parameters, targets

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

_RANKS = {"ia3": None, "boft": None, "oft": None, "fourierft": None, "ln_tuning": None}
"""Kinds of adapters that have no rank of LoRA's sense."""


@dataclass(frozen=True, slots=True)
class Lora:
    """The shape of a LoRA adapter, in peft's terms.

    ``tokens`` are the ids whose embeddings are trained beside it; ``options`` further fields of
    peft's configuration.
    """

    rank: int = 8
    alpha: float = 32
    dropout: float = 0.05
    target_modules: tuple[str, ...] = (ALL_LINEAR,)
    modules_to_save: tuple[str, ...] = ()
    use_rslora: bool = False
    use_dora: bool = False
    target_regex: str | None = None
    target_parameters: tuple[str, ...] = ()
    init: str = "default"
    tokens: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Other:
    """An adapter of another kind that peft puts into layers, by its name there (``vera``)."""

    kind: str
    rank: int = 8
    target_modules: tuple[str, ...] = (ALL_LINEAR,)
    target_regex: str | None = None
    modules_to_save: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class AdaLora:
    """LoRA whose layers begin with ``rank`` each and keep ``target_rank`` on average (AdaLoRA).

    Its trainer says how many steps there are (``peft_config["default"].total_step``).
    """

    rank: int = 12
    target_rank: int = 8
    alpha: float = 32
    dropout: float = 0.05
    target_modules: tuple[str, ...] = (ALL_LINEAR,)
    target_regex: str | None = None
    modules_to_save: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True)
class Prompt:
    """Learnt places before every sequence: embeddings (``prompt``), embeddings out of a small
    network (``p_tuning``), or each layer's keys and values (``prefix``). A prompt may begin as a
    text, which the tokenizer in ``folder`` reads."""

    kind: str = "prompt"
    places: int = 16
    text: str | None = None
    folder: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])


Adapter: TypeAlias = Lora | AdaLora | Other | Prompt

_NOT_YET = 1 << 30
"""Steps of a training whose length nobody has told yet."""


def add_adapter(model: PreTrainedModel, adapter: Adapter) -> PeftModel:
    """The model with a fresh trainable adapter in float32; all other weights are frozen.

    Errors: ConfigError with the model's real module names when a target is not among them, and
    with peft's real fields when an option is none of its own.
    """
    from peft import get_peft_model

    from toolgrove.models.quiet import quiet_transformers

    config = _config(model, adapter)
    if is_scorer(model):
        config.task_type = "SEQ_CLS"  # peft then trains the head beside the adapter
    try:
        with quiet_transformers():
            return get_peft_model(model, config)  # pyright: ignore[reportReturnType]
    except (ValueError, TypeError, NotImplementedError) as error:  # all that peft refuses with
        raise ConfigError(f"this adapter does not go with this model: {_first(error)}") from error


def _config(model: PreTrainedModel, adapter: Adapter) -> Any:
    if isinstance(adapter, Lora):
        return _lora_config(model, adapter)
    if isinstance(adapter, Prompt):
        return _prompt_config(adapter)
    if isinstance(adapter, AdaLora):
        return _adalora_config(model, adapter)
    return _other_config(model, adapter)


def _lora_config(model: PreTrainedModel, lora: Lora) -> Any:
    from peft import LoraConfig

    check_names(model, lora.modules_to_save, "modules_to_save")
    check_parameters(model, lora.target_parameters, "target_parameters")
    return _made(
        LoraConfig,
        lora.options,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=targets(model, lora.target_modules, lora.target_regex),
        target_parameters=list(lora.target_parameters) or None,
        modules_to_save=list(lora.modules_to_save) or None,
        use_rslora=lora.use_rslora,
        use_dora=lora.use_dora,
        init_lora_weights=True if lora.init == "default" else lora.init,
        trainable_token_indices=_token_places(model, lora.tokens),
    )


def _token_places(model: PreTrainedModel, tokens: tuple[int, ...]) -> dict[str, list[int]] | None:
    """The layers whose rows of these tokens are trained: the embedding, and a head of its own."""
    if not tokens:
        return None
    ends = (model.get_input_embeddings(), model.get_output_embeddings())
    names = {
        name.rpartition(".")[2]: list(tokens)
        for name, module in model.named_modules()
        if any(module is end for end in ends)
    }
    if model.config.get_text_config().tie_word_embeddings:
        head = next(n for n, module in model.named_modules() if module is ends[1])
        names.pop(head.rpartition(".")[2], None)
    return names


def _adalora_config(model: PreTrainedModel, ada: AdaLora) -> Any:
    from peft import AdaLoraConfig

    check_names(model, ada.modules_to_save, "modules_to_save")
    return _made(
        AdaLoraConfig,
        ada.options,
        init_r=ada.rank,
        target_r=ada.target_rank,
        lora_alpha=ada.alpha,
        lora_dropout=ada.dropout,
        target_modules=targets(model, ada.target_modules, ada.target_regex),
        modules_to_save=list(ada.modules_to_save) or None,
        total_step=_NOT_YET,
    )


def _other_config(model: PreTrainedModel, adapter: Other) -> Any:
    import peft

    kind: Any = peft.PEFT_TYPE_TO_CONFIG_MAPPING[peft.PeftType(adapter.kind.upper())]
    check_names(model, adapter.modules_to_save, "modules_to_save")
    given: dict[str, Any] = {"modules_to_save": list(adapter.modules_to_save) or None}
    if adapter.kind not in _RANKS:
        given["r"] = adapter.rank
    peft_knows = adapter.kind in ("ia3", "ln_tuning") and adapter.target_regex is None
    if not (peft_knows and adapter.target_modules == (ALL_LINEAR,)):
        given["target_modules"] = targets(model, adapter.target_modules, adapter.target_regex)
    return _made(kind, adapter.options, **given)


def _prompt_config(prompt: Prompt) -> Any:
    from peft import PrefixTuningConfig, PromptEncoderConfig, PromptTuningConfig

    if prompt.kind != "prompt":
        kind = PrefixTuningConfig if prompt.kind == "prefix" else PromptEncoderConfig
        return _made(kind, prompt.options, num_virtual_tokens=prompt.places)
    given: dict[str, Any] = {"prompt_tuning_init": "SAMPLE_VOCAB"}
    if prompt.text:
        given = {
            "prompt_tuning_init": "TEXT",
            "prompt_tuning_init_text": prompt.text,
            "tokenizer_name_or_path": str(prompt.folder),
        }
    return _made(PromptTuningConfig, prompt.options, num_virtual_tokens=prompt.places, **given)


def _made(kind: Any, options: Mapping[str, Any], **given: Any) -> Any:
    known = sorted(item.name for item in fields(kind) if item.init)
    for name in options:
        if name not in known:
            near = did_you_mean(name, known)
            raise ConfigError(
                f'tuner_options: {kind.__name__} has no field "{name}"',
                hint=near or f"its fields: {', '.join(known)}",
            )
        if given.get(name) is not None:
            raise ConfigError(f'tuner_options: "{name}" has a setting of its own')
    try:
        return kind(task_type="CAUSAL_LM", **{**given, **options})
    except (ValueError, TypeError) as error:
        raise ConfigError(f"tuner_options: {_first(error)}") from error


def load_adapter(model: PreTrainedModel, folder: Path, name: str = "default") -> PeftModel:
    """The model with the trained adapter of ``folder`` on it, for inference.

    ModelError when the adapter was trained on another base, or on one that was quantized otherwise.
    """
    from toolgrove.models.base import check_base

    check_adapter(folder)
    check_base(model, folder)
    return put_adapter(model, folder, name)


def put_adapter(model: PreTrainedModel, folder: Path, name: str = "default") -> PeftModel:
    """As ``load_adapter``, for a base that is known to be the adapter's."""
    from peft import PeftModel

    from toolgrove.models.base import read_base
    from toolgrove.models.quiet import quiet_transformers
    from toolgrove.models.vocabulary import grow

    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    scores = config.get("task_type") == "SEQ_CLS"
    if scores is not is_scorer(model):
        raise ModelError(
            f"this adapter {'scores' if scores else 'continues'} conversations, and its base was"
            f" loaded to {'continue' if scores else 'score'} them",
            where=str(folder),
            hint="toolgrove.models.scorer.load_scorer loads classifiers and reward models",
        )
    base = read_base(folder)
    if base is not None:
        grow(model, base.grown)
    with adapter_errors(folder), quiet_transformers():
        return PeftModel.from_pretrained(
            model, str(folder), adapter_name=name, autocast_adapter_dtype=False
        )


def check_adapter(folder: Path) -> dict[str, Any]:
    """The adapter's own configuration; ModelError when ``folder`` holds no whole adapter."""
    file = folder / "adapter_config.json"
    if not file.is_file():
        if not folder.is_dir():
            raise ModelError("no such adapter folder", where=str(folder), hint=_inside(folder))
        if (folder / "config.json").is_file():
            raise ModelError(
                "this folder holds a whole model, not an adapter",
                where=str(folder),
                hint="give it as the model itself",
            )
        raise ModelError(
            "no adapter_config.json in this folder", where=str(folder), hint=_inside(folder)
        )
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"not JSON: {error}", where=str(file)) from error
    if not any((folder / f"adapter_model.{end}").is_file() for end in ("safetensors", "bin")):
        raise ModelError("the adapter's weights are missing", where=str(folder))
    return config


@contextmanager
def adapter_errors(folder: Path) -> Iterator[None]:
    """Turns what peft raises for an adapter that does not fit into a ModelError."""
    from safetensors import SafetensorError

    try:
        yield
    except SafetensorError as error:
        raise ModelError(
            f"the adapter's weights are damaged: {error}", where=str(folder)
        ) from error
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise ModelError(
            f"the adapter does not fit this model: {_first(error)}",
            where=str(folder),
            hint="was it trained on another base model?",
        ) from error


def _inside(folder: Path) -> str:
    """Where below ``folder`` adapters lie, as a hint."""
    found = sorted(folder.glob("**/adapter_config.json")) if folder.is_dir() else []
    if found:
        return f"there is one in {found[-1].parent}"
    return "give the folder that holds adapter_config.json (a run's checkpoint-N)"


def _first(error: Exception) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
