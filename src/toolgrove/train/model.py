"""The model that a recipe trains: loaded, with its adapter on it, or with some weights frozen."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.models.adapters import AdaLora, Adapter, Lora, Other, Prompt, add_adapter
from toolgrove.models.freeze import Freeze, freeze
from toolgrove.models.quantize import Quantization, refuse_twice
from toolgrove.train.parallel import parallel_of
from toolgrove.train.settings import TrainSettings
from toolgrove.train.tuned_settings import PROMPTS

if TYPE_CHECKING:
    from toolgrove.models.device import Placement
    from toolgrove.models.task import Head
    from toolgrove.models.tuned import Tuned

logger = logging.getLogger(__name__)

_BIG_MODEL = 1_000_000_000


def model_to_train(
    settings: TrainSettings,
    folder: Path,
    placement: Placement,
    tokens: Mapping[str, Sequence[int]],
    head: Head | None = None,
) -> Tuned:
    """The model with what is to be trained in float32; frozen weights in the compute format.

    ``tokens`` are new ones (see ``add_tokens``); with ``head`` the model scores.
    """
    import torch

    from toolgrove.models.base import base_of
    from toolgrove.models.kernels import use_liger
    from toolgrove.models.load import load_model
    from toolgrove.models.scorer import load_scorer
    from toolgrove.models.tuned import Tuned, first_values
    from toolgrove.models.vocabulary import begin_as_their_text, grow

    if placement.dtype == torch.float16 and placement.device.type == "cpu":
        raise ConfigError("float16 training needs a GPU", hint="--torch_dtype bfloat16 or float32")
    held = _quantization(settings)
    refuse_twice(folder, held)
    dtype = torch.float32 if settings.tuner_type == "full" else placement.dtype
    if head is not None:
        model: Any = load_scorer(folder, dtype, head, settings.attn_impl)
    else:
        device, attention = placement.device if held else None, settings.attn_impl
        model = load_model(folder, dtype, device=device, attention=attention, quantization=held)
    if settings.use_liger_kernel:
        use_liger(model)
    base = None if settings.trains_own_weights else base_of(model)
    if tokens:
        grow(model, max(map(int, tokens)) + 1)
        begin_as_their_text(model, tokens)
        base = base and base._replace(grown=len(model.get_input_embeddings().weight))
    model = _tune(settings, model, folder, tuple(map(int, tokens)))
    _mind_memory(settings, model)
    tuned = Tuned(model, base, first_values(model) if base else {}, head)
    if held or parallel_of(settings).shards_weights:  # each process moves its own part only
        return tuned
    return replace(tuned, model=model.to(placement.device))


def _tune(settings: TrainSettings, model: Any, folder: Path, tokens: tuple[int, ...]) -> Any:
    """The model with its adapter, or its own weights marked; NEFTune's noise where asked for."""
    from toolgrove.models.head import causal, head_is_plain
    from toolgrove.models.noise import add_noise
    from toolgrove.models.prompted import is_prompted
    from toolgrove.models.scorer import is_scorer

    if settings.tuner_type == "freeze":
        freeze(model, _freeze(settings))
        if is_scorer(model):
            model.score.requires_grad_(True)
    elif settings.tuner_type != "full":
        model = add_adapter(model, adapter_of(settings, folder, tokens))
    if is_prompted(model) and not head_is_plain(model):
        raise ModelError(
            "this model's head does more than project: it cannot be given a learnt prompt",
            where=str(folder),
            hint="--tuner_type lora can be trained on it",
        )
    trainable = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in trainable:
        weight.data = weight.data.float()
    count, every = sum(w.numel() for w in trainable), sum(w.numel() for w in model.parameters())
    logger.info("training %s of %s weights", f"{count:,}", f"{every:,}")
    if settings.neftune_noise_alpha:
        add_noise(causal(model), settings.neftune_noise_alpha)
    return model


def adapter_of(settings: TrainSettings, folder: Path, tokens: tuple[int, ...] = ()) -> Adapter:
    """The adapter that the recipe describes."""
    options = settings.tuner_options
    targets = tuple(settings.target_modules)
    saved = tuple(settings.modules_to_save)
    if settings.tuner_type in PROMPTS:
        kind, places = settings.tuner_type, settings.num_virtual_tokens
        return Prompt(kind, places, settings.prompt_init_text, folder, options)
    if settings.tuner_type == "adalora":
        return AdaLora(
            settings.adalora_init_r,
            settings.adalora_target_r,
            settings.lora_alpha,
            settings.lora_dropout,
            targets,
            settings.target_regex,
            saved,
            options,
        )
    if settings.tuner_type != "lora":
        kind, rank = settings.tuner_type, settings.lora_rank
        return Other(kind, rank, targets, settings.target_regex, saved, options)
    return Lora(
        rank=settings.lora_rank,
        alpha=settings.lora_alpha,
        dropout=settings.lora_dropout,
        target_modules=targets,
        modules_to_save=saved,
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        target_regex=settings.target_regex,
        target_parameters=tuple(settings.target_parameters),
        init=settings.init_weights,
        tokens=tokens,
        options=options,
    )


def _freeze(settings: TrainSettings) -> Freeze:
    return Freeze(
        layers=settings.trainable_layers,
        trained=tuple(settings.trainable_parameters),
        trained_regex=settings.trainable_parameters_regex,
        frozen=tuple(settings.freeze_parameters),
        frozen_regex=settings.freeze_parameters_regex,
    )


def _quantization(settings: TrainSettings) -> Quantization | None:
    if settings.quant_bits is None:
        return None
    if settings.quant_bits == 8:
        return Quantization(8)
    return Quantization(4, settings.bnb_4bit_quant_type, settings.bnb_4bit_use_double_quant)


def _mind_memory(settings: TrainSettings, model: Any) -> None:
    """Recomputes activations where that is asked for, or the model is big."""
    recompute = settings.gradient_checkpointing
    every = sum(weight.numel() for weight in model.parameters())
    if recompute is None:
        recompute = every >= _BIG_MODEL and settings.tuner_type != "prefix"
    if recompute:
        model.gradient_checkpointing_enable({"use_reentrant": False})
