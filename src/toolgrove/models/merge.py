"""Merges an adapter into its base model and writes a plain model folder."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolgrove.core.errors import ModelError

if TYPE_CHECKING:
    import torch

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
    "chat_template.json",
    "generation_config.json",
)
"""What a model folder holds beside its weights and config, where the model has it."""

_CHECK_TOKENS = 24
TOLERANCE = 1e-3
"""How far the sum in float32 may be from base plus adapter, in spreads of the logits."""


class Merged(NamedTuple):
    """The folder of the merged model, and how far its logits are from base plus adapter.

    ``difference`` is the largest difference of a logit over the spread of the logits; beyond
    float32's it is the rounding of the format that the weights are stored in.
    """

    folder: Path
    difference: float


def merge_lora(base: Path, adapter: Path, out: Path, *, overwrite: bool = False) -> Merged:
    """Writes ``out``: the base model with the adapter's update in its weights, ready to load.

    The sum is made in float32 and stored in the base's own format. Law: the logits of the sum equal
    those of base plus adapter, and the written weights are that sum, rounded once; else ModelError.
    ``out`` appears whole or not at all. An adapter that was trained on a base of few bits is merged
    into the values that these bits stand for, since these are what it was trained on. A learnt
    prompt or prefix is refused: it is no change of weights.
    """
    from toolgrove.models.adapters import check_adapter
    from toolgrove.models.prompted import PROMPTS
    from toolgrove.models.vocabulary import tokens_beyond

    kind = str(check_adapter(adapter).get("peft_type"))
    if kind in PROMPTS:
        raise ModelError(
            f"a learnt {PROMPTS[kind]} cannot be merged: it stands before the text and changes"
            " no weights",
            where=str(adapter),
            hint="use it as an adapter on its base",
        )
    if out.exists() and any(out.iterdir()) and not overwrite:
        raise ModelError(
            "the folder for the merged model is not empty", where=str(out), hint="name another one"
        )
    out.parent.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    try:
        difference = _write_merged(base, adapter, work)
        copy_tokenizer(base, work)
        if tokens_beyond(base, adapter):
            copy_tokenizer(adapter, work)
        work.chmod(0o755)
        if out.exists():
            shutil.rmtree(out)
        work.rename(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return Merged(out, difference)


def copy_tokenizer(source: Path, target: Path) -> None:
    """Copies the tokenizer's files, the chat template and the generation settings."""
    target.mkdir(parents=True, exist_ok=True)
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


def _write_merged(base: Path, adapter: Path, work: Path) -> float:
    import torch

    from toolgrove.models.adapters import put_adapter
    from toolgrove.models.base import check_base, read_base
    from toolgrove.models.load import load_model
    from toolgrove.models.quiet import quiet_transformers

    stored = stored_dtype(base)
    known = read_base(adapter)
    held = known.quantization if known else None
    plain: Any = load_model(base, torch.float32, quantization=held)
    check_base(plain, adapter)
    tuned: Any = put_adapter(_written_out(plain) if held else plain, adapter)
    ids = some_ids(int(tuned.config.vocab_size))
    with torch.no_grad():
        before = tuned(input_ids=ids).logits
        with quiet_transformers():
            merged: Any = tuned.merge_and_unload()
            exact = spreads(merged(input_ids=ids).logits, before)
            merged.to(stored).save_pretrained(work)
        written: Any = load_model(work, torch.float32)
        after = written(input_ids=ids).logits
    weights = written.state_dict()
    whole = all(torch.equal(w.float(), weights[name]) for name, w in merged.state_dict().items())
    if not (exact <= TOLERANCE and whole):
        what = f"by {exact:.3g}" if whole else "in what was written"
        raise ModelError(
            f"the merged model differs from base plus adapter {what}",
            where=str(adapter),
            hint="nothing was written; was the adapter trained on this very base model?",
        )
    return spreads(after, before)


def _written_out(model: Any) -> Any:
    """The model with the values that the bits of its weights stand for, in float32."""
    import torch

    plain = model.dequantize(dtype=torch.float32)
    if hasattr(plain.config, "quantization_config"):
        del plain.config.quantization_config
    return plain


def spreads(logits: torch.Tensor, reference: torch.Tensor) -> float:
    """The largest difference of a logit, in standard deviations of the reference."""
    return float((logits - reference).abs().max() / reference.std().clamp_min(1e-6))


def stored_dtype(base: Path) -> torch.dtype:
    """The number format that a model folder's weights are stored in."""
    import torch
    from transformers import AutoConfig

    dtype = AutoConfig.from_pretrained(base).dtype
    return dtype if isinstance(dtype, torch.dtype) else torch.float32


def some_ids(vocabulary: int) -> torch.Tensor:
    """A fixed handful of token ids from all over the vocabulary."""
    import torch

    return ((torch.arange(_CHECK_TOKENS) * 7919 + 11) % vocabulary).unsqueeze(0)
