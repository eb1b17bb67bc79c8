"""The optimizer of LoRA+: a higher learning rate for the B matrices (arXiv 2402.12354)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from transformers import TrainingArguments


def lora_plus(model: Any, args: TrainingArguments, ratio: float) -> Optimizer:
    """The optimizer that the arguments name, with ``ratio`` times the learning rate for B."""
    from peft.optimizers import create_loraplus_optimizer
    from transformers import Trainer

    kind, options = Trainer.get_optimizer_cls_and_kwargs(args)
    given: dict[str, Any] = {name: value for name, value in options.items() if name != "lr"}
    return create_loraplus_optimizer(
        model,
        kind,
        lr=args.learning_rate,
        loraplus_lr_ratio=ratio,
        loraplus_weight_decay=args.weight_decay,
        **given,
    )
