"""The contract of watchers: what a validation tells of the model as it stands, beside the loss."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias

from toolgrove.core.errors import ConfigError, did_you_mean
from toolgrove.core.messages import JSON
from toolgrove.train.parallel import parallel_of

if TYPE_CHECKING:
    from toolgrove.train.batches import Share
    from toolgrove.train.prepare import Prepared
    from toolgrove.train.recipe import SftSettings
    from toolgrove.train.settings import Best


class Seen(NamedTuple):
    """One thing that was looked at: its number, what is measured of it (each from 0 to 1), and a
    line to keep."""

    number: int
    marks: Mapping[str, float]
    line: JSON


class Watcher(Protocol):
    """Looks at a model while it is trained."""

    @property
    def names(self) -> Collection[str]:
        """The marks that may be told."""
        ...

    def look(self, model: Any, share: Share) -> list[Seen]:
        """What is seen in this process's share. The model is in eval mode, with the adapter that
        is trained on it and with its own attention."""
        ...


Watch: TypeAlias = "Callable[[SftSettings, Prepared], Watcher | None]"
"""Makes a watcher, where the recipe asks for one."""


def made(settings: SftSettings, prepared: Prepared, watches: Sequence[Watch]) -> list[Watcher]:
    """The watchers of a run. ConfigError where the recipe asks for one that there is not, or for a
    best model by what none of them tells."""
    watchers = [each for watch in watches if (each := watch(settings, prepared)) is not None]
    if settings.eval_generate and not watchers:
        raise ConfigError(
            "eval_generate: nothing watches this run",
            hint="run_sft(settings, [toolgrove.eval.while_training.tool_watch])",
        )
    refuse_unknown(settings.best, watchers)
    return watchers


def refuse_parts(settings: SftSettings) -> None:
    """ConfigError where the model is to answer and no process has all of it."""
    if settings.eval_generate and parallel_of(settings).shards_weights:
        raise ConfigError(
            "eval_generate: no process has the whole model to answer with",
            hint="--parallel ddp, zero1 or zero2; or leave it out, and toolgrove eval later",
        )


def refuse_unknown(best: Best | None, watchers: Sequence[Watcher]) -> None:
    """ConfigError for a metric of the best model that no validation of this run can tell.

    Losses are not looked at here: which there are is known with the first validation.
    """
    if best is None or best.name == "loss" or best.name.startswith("loss_"):
        return
    names = [name for watcher in watchers for name in watcher.names]
    if best.name in names:
        return
    known = ", ".join(["loss", *names])
    near = did_you_mean(best.name, names)
    more = "" if watchers else "; sft --eval_generate 32 tells tool_accuracy and more"
    raise ConfigError(
        f'metric_for_best_model: no validation tells "{best.name}"',
        hint=near or f"known: {known}{more}",
    )
