"""The names a setting answers to: its own, with ``-`` for ``_``, and older spellings of it."""

from __future__ import annotations

import logging
from collections.abc import Collection
from functools import cache

logger = logging.getLogger(__name__)

OLDER: dict[str, tuple[str, ...]] = {
    "agent": ("agent_template",),
    "batch_size": ("per_device_train_batch_size",),
    "ckpt_dir": ("adapters", "resume_from_checkpoint"),
    "custom_train_dataset_path": ("dataset",),
    "custom_val_dataset_path": ("val_dataset",),
    "dataset_seed": ("data_seed",),
    "dataset_test_ratio": ("split_dataset_ratio",),
    "deepspeed": ("parallel",),
    "dtype": ("torch_dtype",),
    "eval_batch_size": ("per_device_eval_batch_size",),
    "finetuning_type": ("tuner_type",),
    "fsdp": ("parallel",),
    "freeze_trainable_layers": ("trainable_layers",),
    "init_lora_weights": ("init_weights",),
    "lora_dropout_p": ("lora_dropout",),
    "lora_target_modules": ("target_modules",),
    "loraplus_lr_ratio": ("lorap_lr_ratio",),
    "model_id_or_path": ("model",),
    "option": ("template_options",),
    "packing_length": ("tokens_per_batch",),
    "padding_free": ("packing",),
    "plugin": ("external_plugins",),
    "quantization_bit": ("quant_bits",),
    "sft_type": ("tuner_type",),
    "template_type": ("template",),
    "tools_prompt": ("agent_template",),
    "train_type": ("tuner_type",),
    "truncation": ("truncation_strategy",),
}
"""Older spelling -> today's names; the first that the settings have is meant."""

SHORT = frozenset(
    {
        "agent",
        "deepspeed",
        "fsdp",
        "option",
        "packing_length",
        "padding_free",
        "plugin",
        "truncation",
    }
)
"""Spellings that are as good as the name itself: they are not remarked upon."""


GONE = {
    "model_type": "leave it out: the model's folder says what it is; --template chooses another",
    "quant_method": "leave it out: --quant_bits 4 or 8 holds the base in few bits by bitsandbytes",
    "tuner_backend": "leave it out: unsloth's attention knows no shared prefixes;"
    " --use_liger_kernel true brings fused kernels",
    "use_hf": "leave it out: write hf:org/name or ms:org/name",
}
"""Names that people bring along and that are not needed here: what to do instead."""


def canonical(name: str, known: Collection[str], shown_as: str = "{}") -> str:
    """The known name that is meant by ``name``, or ``name`` with underscores when none is.

    An older spelling works and is remarked upon once, on the log; ``shown_as`` is how names are
    written where this one stands (``--{}`` for flags).
    """
    plain = name.replace("-", "_")
    if plain in known:
        return plain
    for today in OLDER.get(plain, ()):
        if today in known:
            if plain not in SHORT:
                _remark(shown_as.format(plain), shown_as.format(today))
            return today
    return plain


@cache
def _remark(old: str, new: str) -> None:
    logger.warning("%s is an older spelling; its name is %s", old, new)
