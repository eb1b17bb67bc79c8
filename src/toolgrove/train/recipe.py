"""The settings of a fine-tuning run."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, model_validator

from toolgrove.core.errors import ConfigError
from toolgrove.models.task import Head
from toolgrove.train.settings import TrainSettings
from toolgrove.train.tuned_settings import PROMPTS


class SftSettings(TrainSettings):
    """Everything that decides a supervised fine-tuning run; its recipe repeats the run."""

    task_type: Literal["causal_lm", "seq_cls", "reward"] = "causal_lm"
    """What is learnt: to write, to tell the label of a conversation (the column label), or to score
    a chosen answer above a rejected one."""

    num_labels: int | None = Field(None, ge=1)
    """With seq_cls: how many classes, or numbers, there are."""

    problem_type: (
        Literal["single_label_classification", "multi_label_classification", "regression"] | None
    ) = None
    """With seq_cls: what a label is; left out, a number where num_labels is 1, else one class."""

    center_rewards_coefficient: float = Field(0.0, ge=0)
    """With reward: how much scores are pulled towards 0."""

    cached_dataset: str | None = None
    """Training data that toolgrove encode --output_dir has written, in place of dataset."""

    cached_val_dataset: str | None = None
    """Validation data that was encoded, in place of val_dataset."""

    load_from_cache_file: bool = False
    """Keep what was encoded in the user's cache, and take it from there the next time."""

    dataset_num_proc: int = Field(1, ge=1)
    """Processes that encode; with several, the rows go through the user's cache."""

    model_name: list[str] = []
    """Who the model is in self-cognition: one name, or the Chinese and the English one."""

    model_author: list[str] = []
    """Who made the model in self-cognition, written as model_name is."""

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

    truncation_strategy: Literal["raise", "delete", "left", "right"] = "raise"
    """What to do with a longer sequence: stop, leave it out, or cut it at whole messages."""

    eval_generate: int = Field(0, ge=0)
    """Rows of the validation data whose assistant turns the model writes anew in each validation,
    which tells tool_accuracy and the like; 0: none."""

    eval_max_new_tokens: int = Field(256, ge=1)
    """Longest reply in a validation; one that does not end by itself is not valid."""

    eval_loss_by_kind: bool | None = None
    """Whether a validation tells the loss of call names, argument keys, argument values, thinking,
    text and stops; left out, where eval_generate is given."""

    @model_validator(mode="after")
    def _data_is_named(self) -> SftSettings:
        if not self.dataset and not self.cached_dataset:
            raise ValueError('"dataset" is missing: give --dataset, or --cached_dataset')
        if self.dataset and self.cached_dataset:
            raise ValueError("give dataset or cached_dataset, not both")
        if self.streaming and self.keeps:
            raise ValueError("streaming keeps nothing: no cache, and no dataset_num_proc")
        return self

    @model_validator(mode="after")
    def _task_fits(self) -> SftSettings:
        if self.enable_channel_loss and self.keeps:
            raise ValueError("enable_channel_loss: caches of encoded rows do not keep channels")
        if (self.num_labels is None) is (self.task_type == "seq_cls"):
            raise ValueError("seq_cls needs num_labels, other tasks have none")
        if self.problem_type and self.task_type != "seq_cls":
            raise ValueError("problem_type belongs to task_type seq_cls")
        if self.center_rewards_coefficient and self.task_type != "reward":
            raise ValueError("center_rewards_coefficient belongs to task_type reward")
        if self.task_type == "causal_lm":
            return self
        writing = {
            *("loss_scale", "history", "new_special_tokens", "enable_channel_loss"),
            *("eval_generate", "eval_loss_by_kind", "eval_max_new_tokens"),
        }
        idle = sorted(
            name for name in writing & self.model_fields_set if not self._is_default(name)
        )
        if idle:
            raise ValueError(f"{idle[0]} belongs to task_type causal_lm")
        if self.keeps or self.streaming:
            raise ValueError(f"{self.task_type} reads its rows at once: no cache, no streaming")
        if self.tuner_type in PROMPTS or self.quant_bits:
            raise ValueError(f"{self.task_type} goes neither with learnt prompts nor quant_bits")
        if self.truncation_strategy in ("left", "right"):
            raise ValueError("what is scored is not cut: truncation_strategy is raise or delete")
        return self

    @model_validator(mode="after")
    def _validation_can_be_watched(self) -> SftSettings:
        if self.watches_kinds and not self.validates:
            name = "eval_generate" if self.eval_generate else "eval_loss_by_kind"
            raise ValueError(f"{name} needs val_dataset or split_dataset_ratio")
        kept = self.cached_val_dataset or (self.keeps and not self.val_dataset)
        if self.eval_generate and kept:
            raise ValueError(
                "eval_generate needs conversations, a cache holds tokens: give val_dataset,"
                " not cached_val_dataset"
            )
        if self.eval_generate and self.sequence_parallel_size * self.context_parallel_size > 1:
            raise ValueError("eval_generate cannot go with processes that share a sequence")
        return self

    @property
    def watches_kinds(self) -> bool:
        """Whether a validation tells the loss of each kind of token."""
        return self.eval_generate > 0 if self.eval_loss_by_kind is None else self.eval_loss_by_kind

    def _is_default(self, name: str) -> bool:
        return getattr(self, name) == type(self).model_fields[name].default

    @property
    def keeps(self) -> bool:
        """Whether encoded rows go through a cache."""
        return bool(
            self.cached_dataset
            or self.cached_val_dataset
            or self.load_from_cache_file
            or self.dataset_num_proc > 1
        )

    @property
    def head(self) -> Head | None:
        """The head that scores, unless the model learns to write."""
        if self.task_type == "causal_lm":
            return None
        count = self.num_labels or 1
        usual = "regression" if count == 1 else "single_label_classification"
        return Head(self.task_type, count, self.problem_type or usual)

    @property
    def validates(self) -> bool:
        """Whether there is anything to validate on."""
        return bool(self.val_dataset or self.cached_val_dataset or self.split_dataset_ratio)

    def options(self) -> dict[str, Any]:
        """The chat template's variables."""
        thinking = {} if self.enable_thinking is None else {"enable_thinking": self.enable_thinking}
        both = set(thinking) & set(self.template_options)
        if both:
            raise ConfigError(
                f"{both.pop()} is given twice", hint="keep it out of template_options"
            )
        return {**self.template_options, **thinking}
