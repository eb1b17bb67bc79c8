"""Training data out of caches of encoded rows, written where they are missing."""

from __future__ import annotations

import logging
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolgrove.core.errors import ConfigError
from toolgrove.encoding.cache import (
    CachedSequences,
    Recipe,
    differences,
    read_identity,
    write_cache,
)
from toolgrove.encoding.identity import encoding_identity
from toolgrove.encoding.job import Job
from toolgrove.encoding.parallel import executor
from toolgrove.train.recipe import SftSettings

if TYPE_CHECKING:
    from rich.console import Console

    from toolgrove.data.stream import Mixture

logger = logging.getLogger(__name__)

_OF_THE_DATA = frozenset({"data", "mixture", "columns", "on_bad_row", "system"})
"""What decides a cache besides how rows are encoded: a cache that is named may have its own."""


class FromCache(NamedTuple):
    """The sequences to train and to validate on, and the rows behind them."""

    train: CachedSequences
    val: CachedSequences | None
    rows: int
    rejected: int


def uses_cache(settings: SftSettings) -> bool:
    """Whether the recipe asks for a cache, or for several processes, which need one."""
    return settings.keeps


def from_cache(
    settings: SftSettings, folder: Path, limit: int | None, console: Console
) -> FromCache:
    """The recipe's data, from caches that fit it.

    ConfigError for a cache that was encoded in another way than the recipe asks for.
    """
    job = job_of(settings, folder, limit)
    if settings.cached_dataset:
        train = _named(settings.cached_dataset, job)
    else:
        train = _written(training_of(settings), job, settings, console)
    rows, rejected = train.totals.rows, train.totals.rejected
    val: CachedSequences | None = None
    if settings.cached_val_dataset:
        val = _named(settings.cached_val_dataset, job)
    elif settings.val_dataset:
        val = _written(validation_of(settings), job, settings, console)
    elif settings.split_dataset_ratio:
        train, val = _split(train, settings)
    if train.totals.idle:
        idle = train.totals.idle
        logger.warning("%d of %d rows have nothing to train and are left out", idle, rows)
    return FromCache(train, val, rows, rejected + (val.totals.rejected if val else 0))


def training_of(settings: SftSettings) -> Mixture:
    """The training rows that the recipe names."""
    from toolgrove.data.stream import mixture_of

    return mixture_of(settings, settings.model_name, settings.model_author)


def validation_of(settings: SftSettings) -> Mixture:
    """The validation rows that the recipe names."""
    from toolgrove.data.stream import Mixture

    return Mixture(
        tuple(settings.val_dataset),
        names=tuple(settings.model_name),
        authors=tuple(settings.model_author),
        seed=settings.data_seed,
    )


def job_of(settings: SftSettings, folder: Path, limit: int | None) -> Job:
    """All that decides what the recipe's rows become, for the model in ``folder``."""
    return Job(
        folder,
        settings.today or date.today(),
        settings.template,
        settings.agent_template,
        settings.options(),
        settings.loss_scale,
        settings.history,
        limit,
        settings.truncation_strategy,
        settings.system,
        settings.columns,
        settings.on_bad_row,
        tuple(settings.external_plugins),
    )


def _written(
    mixture: Mixture, job: Job, settings: SftSettings, console: Console
) -> CachedSequences:
    from toolgrove.data.cache import cache_folder
    from toolgrove.encoding.progress import progress

    recipe = Recipe(mixture, job)
    folder = cache_folder(None, "encoded", recipe.key())
    with progress(console) as tell:
        run = executor("local", settings.dataset_num_proc)
        return write_cache(folder, recipe, run, tell)


def _named(name: str, job: Job) -> CachedSequences:
    """The cache in a folder, if its rows were encoded as the recipe encodes."""
    folder = Path(name).expanduser()
    held = read_identity(folder)
    differs = [
        part for part in differences(held, encoding_identity(job)) if part not in _OF_THE_DATA
    ]
    longest = held.get("max_length", [None])[0]
    if differs == ["max_length"] and longest is not None and longest <= (job.max_length or longest):
        differs = []
    if differs:
        raise ConfigError(
            f"this cache was encoded in another way ({', '.join(differs)})",
            where=str(folder),
            hint="encode it again with this recipe's model, template, loss scale and history",
        )
    return CachedSequences(folder)


def _split(
    cache: CachedSequences, settings: SftSettings
) -> tuple[CachedSequences, CachedSequences]:
    from toolgrove.data.groups import held_out

    out = held_out(cache.groups(), settings.split_dataset_ratio, settings.data_seed)
    learn = [number for number in range(len(cache)) if number not in out]
    return cache.only(learn), cache.only(sorted(out))
