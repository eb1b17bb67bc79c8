"""Pre-training: from a recipe and plain texts to a run folder with a trained model."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from toolgrove.core.errors import DataError
from toolgrove.encoding.encoded import Encoded
from toolgrove.train.prepare import length_limit
from toolgrove.train.pt_recipe import PtSettings
from toolgrove.train.ranks import rank
from toolgrove.train.sft import Job, SftResult, begin, telling_full_disk, train, write_run

if TYPE_CHECKING:
    from toolgrove.core.samples import Text
    from toolgrove.data.stream import Mixture
    from toolgrove.data.texts import Texts

logger = logging.getLogger(__name__)

_LONGEST = 4096


@dataclass(frozen=True, slots=True)
class Blocks:
    """The blocks to train and to validate on."""

    train: Sequence[Encoded]
    val: Sequence[Encoded]


def run_pt(settings: PtSettings) -> SftResult:
    """Trains on every token of plain texts, as the recipe says.

    The run folder, signals, resuming and errors are those of ``run_sft``; there is no dialect.
    """
    job = begin(settings, "pt")
    with telling_full_disk(job.run):
        data = _blocks(settings, job)
        if rank() == 0:
            write_run(job, {})
        # blocks are of one length and share no beginning: there is nothing left to pack
        plain = settings.model_copy(update={"packing": False, "forest": "off"})
        return train(replace(job, settings=plain), data)


def _blocks(settings: PtSettings, job: Job) -> Blocks:
    from toolgrove.data.texts import split_texts
    from toolgrove.encoding.texts import blocks, cut, documents, frame_of
    from toolgrove.encoding.tokenizer import load_tokenizer

    tok = load_tokenizer(job.texts)
    frame = frame_of(tok, settings.document_end)
    own = length_limit(settings, job.texts)
    length = settings.max_length or min(own or _LONGEST, _LONGEST)
    read = _read(settings, settings.dataset, job, "rejected.jsonl")
    if settings.val_dataset:
        learn, held = read.texts, _read(settings, settings.val_dataset, job, "rejected_val.jsonl")
        val = held.texts
    else:
        learn, val = split_texts(read.texts, settings.split_dataset_ratio, settings.data_seed)

    def made(texts: Iterable[Text]) -> Iterator[Encoded]:
        each = documents(texts, tok, frame)
        return blocks(each, length) if settings.packing else cut(each, length)

    data = Blocks(list(made(learn)), list(made(val)))
    if not data.train:
        raise DataError("the texts hold nothing to train", where=", ".join(settings.dataset))
    tokens = sum(map(len, data.train))
    how = "one behind the other, an end token after each" if settings.packing else "each alone"
    job.console.print(
        f"{len(learn)} texts ({read.rejected} more rejected), {tokens:,} tokens, all learnt, in"
        f" {len(data.train)} blocks of up to {length} tokens: {how};"
        f" {len(data.val)} blocks to validate",
        soft_wrap=True,
    )
    first = tok.decode(data.train[0].ids[:60])
    job.console.print(f"the first begins: {first!r}", markup=False)
    return data


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
