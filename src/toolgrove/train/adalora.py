"""AdaLoRA in training: ranks are shared out after each step, matrices are kept orthogonal."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from toolgrove.core.errors import ConfigError


class RankSteps(TrainerCallback):
    """Tells AdaLoRA how long the training is, and lets it take ranks away after each step."""

    def __init__(self, model: Any) -> None:
        self._model = model

    def on_train_begin(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """ConfigError where there are too few steps to take ranks away in."""
        config = self._model.peft_config["default"]
        config.total_step = state.max_steps
        if config.tinit >= config.total_step - config.tfinal:
            raise ConfigError(
                f"adalora has no step to take ranks away in: {state.max_steps} steps, of which"
                f" tinit {config.tinit} and tfinal {config.tfinal} keep them",
                hint="lower tinit and tfinal in --tuner_options, or train longer",
            )

    def on_optimizer_step(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Scores the ranks by their gradients, and puts out those beyond the budget."""
        self._model.base_model.update_and_allocate(state.global_step)


def penalty(model: Any) -> Tensor:
    """How far the A and B matrices are from orthogonal, times the configuration's weight; peft
    adds it in a forward pass that is not used here."""
    config = model.peft_config["default"]
    away: list[Tensor] = []
    for name, weight in model.named_parameters():
        if "lora_A.default" in name or "lora_B.default" in name:
            square = weight @ weight.T if "lora_A" in name else weight.T @ weight
            away.append(torch.linalg.norm(square - torch.eye(len(square)).to(square)))
    return config.orth_reg_weight * torch.stack(away).mean()
