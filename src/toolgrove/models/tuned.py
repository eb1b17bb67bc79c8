"""A model that is being tuned, with what a checkpoint of it must hold besides its weights."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.models.base import Base, write_base
from toolgrove.models.task import Head, write_head
from toolgrove.models.training_state import is_adalora, save_state

if TYPE_CHECKING:
    from torch import Tensor

TRAINED = "trained"
"""The folder in a checkpoint with the adapter as it is trained, where that is not what is used."""

_A, _B = "lora_A.weight", "lora_B.weight"


@dataclass(frozen=True, slots=True)
class Tuned:
    """The model to train. ``base`` is None when its own weights are trained.

    ``start`` holds the first values of LoRA matrices that were taken out of the base (PiSSA,
    OLoRA). A checkpoint then holds, to be used on the untouched base, an adapter of twice the rank
    that is the difference, and in ``trained/`` the one to go on from. Law: base plus the
    checkpoint's adapter computes what the model in training computes.
    """

    model: Any
    base: Base | None = None
    start: dict[str, Tensor] = field(default_factory=dict[str, "Tensor"])
    head: Head | None = None

    def save(self, folder: Path, state_dict: Any = None) -> None:
        """Writes the adapter, or the whole model, into a checkpoint's folder."""
        if self.head is not None:
            folder.mkdir(parents=True, exist_ok=True)
            write_head(self.head, folder)
        if self.base is None:
            self.model.save_pretrained(str(folder), state_dict=state_dict)
            return
        own = folder / TRAINED if self.start else folder
        # what is trained of the embeddings is part of the adapter; the rest is the base's
        with _whole_ranks(self.model):
            self.model.save_pretrained(str(own), state_dict=state_dict, save_embedding_layers=False)
        save_state(self.model, folder / TRAINED)
        if self.start:
            self._save_difference(folder, state_dict)
        write_base(self.base, folder)

    def _save_difference(self, folder: Path, state_dict: Any) -> None:
        import torch
        from safetensors.torch import save_file

        now = lora_weights(self.model, state_dict)
        wide = dict(now)
        for name, value in now.items():
            if name.endswith(_A):
                wide[name] = torch.cat([value, self.start[name].to(value)]).contiguous()
            elif name.endswith(_B):
                wide[name] = torch.cat([value, -self.start[name].to(value)], dim=1).contiguous()
        save_file({name: value.cpu() for name, value in wide.items()}, folder / WEIGHTS)
        config = copy.copy(self.model.active_peft_config)
        config.r, config.inference_mode, config.init_lora_weights = 2 * config.r, True, True
        config.lora_alpha = config.lora_alpha * (math.sqrt(2) if config.use_rslora else 2)
        config.save_pretrained(str(folder))


@contextmanager
def _whole_ranks(model: Any) -> Iterator[None]:
    """Inside, AdaLoRA's matrices are saved with all their ranks: those that it has put out for now
    may come back, and until then they are not always zero."""
    if not is_adalora(model):
        yield
        return
    config = model.peft_config["default"]
    ranks, config.rank_pattern = config.rank_pattern, None
    try:
        yield
    finally:
        config.rank_pattern = ranks


WEIGHTS = "adapter_model.safetensors"


def lora_weights(model: Any, state_dict: Any = None) -> dict[str, Tensor]:
    """The adapter's weights by the names that peft saves them under."""
    from peft import get_peft_model_state_dict

    found = get_peft_model_state_dict(model, state_dict=state_dict, save_embedding_layers=False)
    return dict(found)


def first_values(model: Any) -> dict[str, Tensor]:
    """Copies of fresh LoRA matrices, if they were taken out of the base's weights."""
    init = getattr(model.active_peft_config, "init_lora_weights", True)
    if not str(init).startswith(("pissa", "olora")):
        return {}
    return {
        name: value.detach().clone()
        for name, value in lora_weights(model).items()
        if name.endswith((_A, _B))
    }
