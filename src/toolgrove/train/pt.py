"""Pre-training: from a recipe and plain texts to a run folder with a trained model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from toolgrove.core.errors import DataError
from toolgrove.encoding.encoded import Encoded
from toolgrove.train.disk import telling_full_disk
from toolgrove.train.prepare import length_limit
from toolgrove.train.pt_recipe import PtSettings
from toolgrove.train.ranks import rank
from toolgrove.train.sft import Job, SftResult, begin, train, write_run
from toolgrove.train.watchers import refuse_unknown

if TYPE_CHECKING:
    from toolgrove.core.samples import Text
    from toolgrove.data.stream import Mixture
    from toolgrove.data.texts import Texts
    from toolgrove.encoding.texts import Frame
    from toolgrove.encoding.tokenizer import Tokenizer
    from toolgrove.train.stream_source import Streamed

logger = logging.getLogger(__name__)

_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks to train and to validate on."""

    train: Sequence[Encoded]
    val: Sequence[Encoded]
    streamed: Streamed | None = None


def run_pt(settings: PtSettings) -> SftResult:
    """Trains on every token of plain texts, as the recipe says.

    The run folder, signals, resuming and errors are those of ``run_sft``; there is no dialect.
    """
    refuse_unknown(settings.best, ())
    job = begin(settings, "pt")
    with telling_full_disk(job.run):
        data = _blocks(settings, job)
        if rank() == 0:
            job = write_run(job, {})
        # blocks are of one length and share no beginning: there is nothing left to pack
        plain = settings.model_copy(update={"packing": False, "forest": "off"})
        return train(replace(job, settings=plain), data)


class _Cutter(NamedTuple):
    """How texts become blocks of so many tokens."""

    tok: Tokenizer
    frame: Frame
    length: int
    packing: bool

    def made(self, texts: Iterable[Text]) -> list[Encoded]:
        from toolgrove.encoding.texts import blocks, cut, documents

        each = documents(texts, self.tok, self.frame)
        return list((blocks if self.packing else cut)(each, self.length))


def _cutter(settings: PtSettings, folder: Path) -> _Cutter:
    from toolgrove.encoding.texts import frame_of
    from toolgrove.encoding.tokenizer import load_tokenizer

    tok = load_tokenizer(folder)
    own = length_limit(settings, folder)
    length = settings.max_length or min(own or _LONGEST, _LONGEST)
    return _Cutter(tok, frame_of(tok, settings.document_end), length, settings.packing)


def _blocks(settings: PtSettings, job: Job) -> Blocks:
    cutter = _cutter(settings, job.texts)
    if settings.streaming:
        data, source = _streamed(settings, job, cutter), "a stream"
    else:
        data, source = _held(settings, job, cutter)
    if not data.train:
        raise DataError("the texts hold nothing to train", where=", ".join(settings.dataset))
    tokens = sum(map(len, data.train))
    how = "one behind the other, an end token after each" if settings.packing else "each alone"
    begins = "it begins with " if data.streamed else ""
    job.console.print(
        f"{source}: {begins}{tokens:,} tokens, all learnt, in {len(data.train)} blocks of up to"
        f" {cutter.length} tokens: {how}; {len(data.val)} blocks to validate",
        soft_wrap=True,
    )
    first = cutter.tok.decode(data.train[0].ids[:60])
    job.console.print(f"the first begins: {first!r}", markup=False)
    return data


def _held(settings: PtSettings, job: Job, cutter: _Cutter) -> tuple[Blocks, str]:
    """All blocks in memory, and how many texts they are made of."""
    from toolgrove.data.texts import split_texts

    read = _read(settings, settings.dataset, job, "rejected.jsonl")
    if settings.val_dataset:
        learn, held = read.texts, _read(settings, settings.val_dataset, job, "rejected_val.jsonl")
        val = held.texts
    else:
        learn, val = split_texts(read.texts, settings.split_dataset_ratio, settings.data_seed)
    blocks = Blocks(cutter.made(learn), cutter.made(val))
    return blocks, f"{len(learn)} texts ({read.rejected} more rejected)"


def _streamed(settings: PtSettings, job: Job, cutter: _Cutter) -> Blocks:
    from toolgrove.train.stream_source import Streamed
    from toolgrove.train.streaming import look, text_windows

    windows = text_windows(settings, cutter.made, job.run)
    first = look(windows).sequences
    val: list[Encoded] = []
    if settings.val_dataset:
        val = cutter.made(_read(settings, settings.val_dataset, job, "rejected_val.jsonl").texts)
    return Blocks(first, val, Streamed(windows, first, cutter.length))


def _read(settings: PtSettings, specs: Sequence[str], job: Job, rejected: str) -> Texts:
    from toolgrove.data.load import DataSettings
    from toolgrove.data.texts import load_texts

    return load_texts(
        _mixture(settings, specs),
        DataSettings(
            on_bad_row=settings.on_bad_row,
            rejected_file=job.run / rejected,
            columns=settings.columns,
            seed=settings.data_seed,
        ),
    )


def _mixture(settings: PtSettings, specs: Sequence[str]) -> Mixture:
    from toolgrove.data.stream import Mixture, mixture_of

    if list(specs) != settings.dataset:
        return Mixture(tuple(specs), seed=settings.data_seed)
    return mixture_of(settings)
