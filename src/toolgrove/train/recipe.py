"""The settings of a fine-tuning run."""

from __future__ import annotations

from datetime import date
from typing import Any, Literal

from pydantic import Field, model_validator

from toolgrove.core.errors import ConfigError
from toolgrove.train.settings import TrainSettings


class SftSettings(TrainSettings):
    """Everything that decides a supervised fine-tuning run; its recipe repeats the run."""

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

    @model_validator(mode="after")
    def _data_is_named(self) -> SftSettings:
        if not self.dataset and not self.cached_dataset:
            raise ValueError('"dataset" is missing: give --dataset, or --cached_dataset')
        if self.dataset and self.cached_dataset:
            raise ValueError("give dataset or cached_dataset, not both")
        kept = self.cached_dataset or self.load_from_cache_file or self.dataset_num_proc > 1
        if self.streaming and kept:
            raise ValueError("streaming keeps nothing: no cache, and no dataset_num_proc")
        return self

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
