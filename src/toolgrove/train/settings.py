"""The settings that all training commands share."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from toolgrove.train.tuned_settings import PROMPTS, TunedSettings

ROWS_PER_STEP = 16
"""About how many sequences make an optimizer step where no setting says otherwise."""


class Best(NamedTuple):
    """Which number of a validation line tells how good a model is."""

    key: str
    greater: bool

    @classmethod
    def of(cls, name: str, greater: bool | None = None) -> Best:
        """By the metric's name, with ``eval_`` or without; losses are better when lower."""
        plain = name.removeprefix("eval_")
        loss = plain == "loss" or plain.startswith("loss_")
        return cls(f"eval_{plain}", not loss if greater is None else greater)

    @property
    def name(self) -> str:
        """The metric's name without ``eval_``."""
        return self.key.removeprefix("eval_")


class TrainSettings(TunedSettings):
    """What a training run of any kind is told: data, tuner, course, what is saved."""

    torch_dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Number format to compute in; auto takes the fastest sound one of this device."""

    attn_impl: str | None = None
    """Attention kernel by transformers' name (sdpa, eager, ...); left out, the model's default.
    Forests bring their own."""

    use_liger_kernel: bool = False
    """Liger's fused kernels for norms, activations and rotations; needs CUDA and liger-kernel."""

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
    """Compute a beginning that sequences share once, exactly, and pad nothing: where that pays and
    the model can do so (auto), always (on; stop where the model cannot), or never (off)."""

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

    auto_budget: bool = False
    """Before a forest is trained, try its costliest batch, and halve the tokens of a batch until it
    fits into memory; a step keeps about as many sequences."""

    gradient_accumulation_steps: int | None = Field(None, ge=1)
    """Batches per optimizer step; left out, as many as make about 16 sequences."""

    group_by_length: bool = True
    """Put sequences of like length into one batch, where they are padded."""

    per_device_eval_batch_size: int = Field(8, ge=1)
    """Sequences per forward pass and device in validation."""

    nproc_per_node: int = Field(1, ge=1)
    """Processes of this machine that train together: one for each GPU, or on a CPU one for each
    core, which is faster than one process on all cores."""

    nnodes: int = Field(1, ge=1)
    """Machines that train together; the same command runs on each, with its own node_rank."""

    node_rank: int = Field(0, ge=0)
    """The number of this machine; the first is 0."""

    master_addr: str | None = None
    """Where the first machine is reached; left out, MASTER_ADDR of the environment."""

    master_port: int | None = Field(None, ge=1, le=65535)
    """The first machine's port; left out, MASTER_PORT of the environment, 29500 for several
    machines, else any that is free."""

    parallel: str | None = None
    """What the processes share: ddp (the batches only), fsdp2, fsdp2_offload, zero1, zero2,
    zero2_offload, zero3, zero3_offload, a DeepSpeed configuration (JSON) or a configuration of
    accelerate (YAML). Also --deepspeed, --fsdp."""

    sequence_parallel_size: int = Field(1, ge=1)
    """Processes that share each sequence, by attention heads (Ulysses, of DeepSpeed)."""

    context_parallel_size: int = Field(1, ge=1)
    """Processes that share each sequence, in a ring of keys and values (torch's, with fsdp2)."""

    executor: Literal["local", "ray"] = "local"
    """Who starts the processes: this command, or Ray, as a Ray Train job of nnodes times
    nproc_per_node workers."""

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

    metric_for_best_model: str | None = None
    """Save a checkpoint whenever this number of the validation is better than ever, and keep it:
    loss, tool_accuracy, loss_argument_values, ... as metrics.jsonl tells it behind eval_."""

    greater_is_better: bool | None = None
    """Whether a higher metric_for_best_model is better; left out, so it is but for losses."""

    load_best_model_at_end: bool = False
    """The run's result is its best checkpoint instead of its newest."""

    early_stop_interval: int | None = Field(None, ge=1)
    """Stop after so many validations in a row without a better metric_for_best_model, or loss."""

    enable_channel_loss: bool = False
    """Also tell the loss of each value that rows have in their column channel."""

    report_to: list[str] = []
    """Further loggers by transformers' names: tensorboard, wandb, swanlab, mlflow, trackio, ...;
    none or left out, the run's folder only."""

    run_name: str | None = None
    """What the run is called there; left out, as its folder."""

    callbacks: list[str] = []
    """Callbacks of installed packages, by the names they registered; those that the files of
    external_plugins register are used in any case."""

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
        if self.tuner_type == "prefix" and self.gradient_checkpointing:
            raise ValueError("gradient_checkpointing would lose the learnt prefix")
        return self

    @model_validator(mode="after")
    def _best_can_be_known(self) -> TrainSettings:
        for name in ("early_stop_interval", "metric_for_best_model", "load_best_model_at_end"):
            if getattr(self, name) and not self.validates:
                raise ValueError(f"{name} needs val_dataset or split_dataset_ratio")
        if self.greater_is_better is not None and not self.metric_for_best_model:
            raise ValueError("greater_is_better says nothing without metric_for_best_model")
        if self.load_best_model_at_end and self.save_strategy == "no":
            raise ValueError("load_best_model_at_end needs checkpoints: save_strategy is no")
        return self

    @model_validator(mode="after")
    def _budget_can_shrink(self) -> TrainSettings:
        if self.auto_budget and self.per_device_train_batch_size:
            raise ValueError("auto_budget changes the tokens of a batch: give tokens_per_batch")
        if self.auto_budget and (self.streaming or (self.forest == "off" and not self.packing)):
            raise ValueError("auto_budget needs rows that are held and packed")
        return self

    @model_validator(mode="after")
    def _streams(self) -> TrainSettings:
        if not self.streaming:
            return self
        if self.max_steps < 1:
            raise ValueError("streaming needs max_steps: nobody knows how long the data is")
        if self.split_dataset_ratio:
            raise ValueError("a stream cannot be split: give val_dataset")
        if self.dataloader_num_workers:
            raise ValueError("streaming reads in the training process: no dataloader_num_workers")
        if self.save_strategy == "epoch":
            raise ValueError("a stream has no epochs: save_strategy is steps or no")
        return self

    @property
    def best(self) -> Best | None:
        """What tells the best checkpoint, where the run looks for it."""
        name = self.metric_for_best_model or ("loss" if self.load_best_model_at_end else None)
        return None if name is None else Best.of(name, self.greater_is_better)

    @property
    def peak_learning_rate(self) -> float:
        """The learning rate that holds, be it given or the default of the tuner."""
        if self.learning_rate is not None:
            return self.learning_rate
        if self.tuner_type in PROMPTS:
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
