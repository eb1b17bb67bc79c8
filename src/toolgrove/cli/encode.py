"""``toolgrove encode``: rows as token ids and weights, printed or written to a cache."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from toolgrove.cli.inputs import (
    SEED,
    RowsSettings,
    Said,
    at,
    conversations_of,
    dialect_of,
    said,
    text_model,
)
from toolgrove.core.errors import ConfigError
from toolgrove.encoding.encoded import Encoded

if TYPE_CHECKING:
    from toolgrove.data.stream import Mixture
    from toolgrove.encoding.job import Job

logger = logging.getLogger(__name__)


class EncodeSettings(RowsSettings):
    """Which rows become which sequences."""

    loss_scale: str = "default"
    """Which tokens count how much: default, last_round, all, react, hermes, ignore_empty_think, a
    table.yaml of one's own; + joins them."""

    history: Literal["served", "keep"] = "served"
    """Each turn in the context it is served in, or all turns of a row in one sequence."""

    max_length: int | None = Field(default=None, ge=2)
    """Longest sequence in tokens; left out, any."""

    truncation_strategy: Literal["raise", "delete", "left", "right"] = "raise"
    """What to do with a longer sequence: stop, leave it out, or cut it at whole messages."""


class EncodeCommand(EncodeSettings):
    """Encoding, with what the command prints or writes."""

    output_dir: str | None = None
    """Write a cache that sft --cached_dataset reads, instead of printing."""

    dataset_num_proc: int = Field(default=1, ge=1)
    """Processes that encode; what they write does not depend on how many they are."""

    executor: Literal["local", "ray"] = "local"
    """Where these run: on this machine, or as actors of a Ray cluster."""

    interleave_prob: list[float] = []
    """Take turns among the sources, in these exact proportions, instead of one after the other."""

    stopping_strategy: Literal["first_exhausted", "all_exhausted"] = "first_exhausted"
    """Taking turns ends with the first source that has no more rows, or with the last."""

    train_dataset_mix_ds: list[str] = []
    """General data to mix in, written as the data sets are."""

    train_dataset_mix_ratio: float = Field(default=0.0, ge=0)
    """Rows of the general data for each row of the others: 2 is agent to general 1 to 2."""

    model_name: list[str] = []
    """Who the model is in self-cognition: one name, or the Chinese and the English one."""

    model_author: list[str] = []
    """Who made the model in self-cognition, written as model_name is."""

    data_seed: int = SEED
    """Which rows path#20 takes."""

    columns: dict[str, str] = {}
    """Columns to rename, old name to new: {"frage": "query"}; for a cache only."""

    on_bad_row: Literal["strict", "skip"] = "strict"
    """What a bad row does to a cache: stop it, or be skipped and written to rejected.jsonl."""

    system: str | None = None
    """System prompt for the rows that have none; for a cache only."""

    as_json: bool = Field(default=True, alias="json")
    """Print JSON lines; this command always does."""

    prompt: bool = False
    """Print the ids of the prompt instead: what serving feeds the model for this history."""


def run(settings: EncodeCommand) -> int:
    """Prints each sequence, or writes the cache; counts go to stderr."""
    if settings.output_dir is not None:
        return _write(settings, Path(settings.output_dir).expanduser())
    for name in ("dataset_num_proc", "executor", "columns", "on_bad_row", "system"):
        if getattr(settings, name) != EncodeCommand.model_fields[name].default:
            raise ConfigError(f"--{name} is for a cache", hint="give --output_dir FOLDER, too")
    if settings.prompt:
        return _prompts(settings)
    rows = sequences = tokens = trained = 0
    for where, encoded in encodings(settings):
        rows += 1
        for sequence in encoded:
            sequences += 1
            tokens += len(sequence)
            trained += sequence.trained
            line = {"where": where, "ids": sequence.ids, "weights": sequence.weights}
            print(json.dumps(line, ensure_ascii=False))
    logger.info(
        "%d rows, %d sequences, %d tokens, %d of them learnt", rows, sequences, tokens, trained
    )
    return 0


def encodings(settings: EncodeSettings) -> Iterator[tuple[str, list[Encoded]]]:
    """The place and the sequences of each row; a row that would lose something is refused.

    After the last row, a loss scale that found nothing to weigh is told in the log.
    """
    from toolgrove.encoding import encode
    from toolgrove.encoding.loss import parse_loss_scale
    from toolgrove.encoding.tokenizer import load_tokenizer

    rule = parse_loss_scale(settings.loss_scale)
    acted: set[str] = set()
    how = encode.EncodeSettings(
        rule,
        encode.History(settings.history),
        settings.max_length,
        encode.Truncation(settings.truncation_strategy),
        acted,
    )
    dialect = dialect_of(settings)
    tokenizer = load_tokenizer(text_model(_model(settings)))
    for where, talk in _talks(settings):
        with at(where):
            encoded = encode.encode_whole(talk, dialect, tokenizer, how)
        yield where, encoded
    for idle in rule.idle(acted):
        logger.warning(idle)


def _talks(settings: EncodeSettings) -> Iterator[Said]:
    """The conversations of stdin and other sources, or those of a mixture."""
    if isinstance(settings, EncodeCommand) and settings.dataset and "-" not in settings.dataset:
        return said(_mixture(settings))
    return conversations_of(settings.dataset)


def _mixture(settings: EncodeCommand) -> Mixture:
    from toolgrove.data.stream import mixture_of

    return mixture_of(settings, settings.model_name, settings.model_author)


def _write(settings: EncodeCommand, folder: Path) -> int:
    """Writes the cache with a progress bar; prints what stands in it."""
    from rich.console import Console

    from toolgrove.encoding.cache import Recipe, write_cache
    from toolgrove.encoding.loss import parse_loss_scale
    from toolgrove.encoding.parallel import executor
    from toolgrove.encoding.progress import progress

    recipe = Recipe(_mixture(settings), _job(settings))
    run = executor(settings.executor, settings.dataset_num_proc)
    with progress(Console(stderr=True)) as tell:
        cache = write_cache(folder, recipe, run, tell)
    for idle in parse_loss_scale(settings.loss_scale).idle(cache.totals.acted):
        logger.warning(idle)
    print(json.dumps({"output_dir": str(folder), **asdict(cache.totals)}, ensure_ascii=False))
    return 0


def _job(settings: EncodeCommand) -> Job:
    from toolgrove.encoding.job import Job

    options = settings.template_options
    if settings.enable_thinking is not None:
        options = {**options, "enable_thinking": settings.enable_thinking}
    return Job(
        text_model(_model(settings)),
        settings.today or date.today(),
        settings.template,
        settings.agent_template,
        options,
        settings.loss_scale,
        settings.history,
        settings.max_length,
        settings.truncation_strategy,
        settings.system,
        settings.columns,
        settings.on_bad_row,
        tuple(settings.external_plugins),
    )


def _prompts(settings: EncodeCommand) -> int:
    from toolgrove.encoding.encode import prompt_ids
    from toolgrove.encoding.tokenizer import load_tokenizer

    dialect = dialect_of(settings)
    tokenizer = load_tokenizer(text_model(_model(settings)))
    for where, talk in _talks(settings):
        with at(where):
            ids = prompt_ids(talk, dialect, tokenizer)
        print(json.dumps({"where": where, "ids": ids}))
    return 0


def _model(settings: EncodeSettings) -> str:
    if settings.model is None:
        raise ConfigError("no tokenizer named", hint="give --model FOLDER")
    return settings.model
