"""New tokens for a model: in its tokenizer, and as rows of its embeddings."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ConfigError
from toolgrove.models.merge import copy_tokenizer

if TYPE_CHECKING:
    from torch import Tensor


def add_tokens(folder: Path, tokens: Sequence[str], out: Path) -> dict[str, list[int]]:
    """Writes ``out``: tokenizer and config of the model in ``folder``, with further tokens.

    Returns, by id of each new token as text, the ids that its text had before. ConfigError for a
    token that is known already, or that could stand in any text: new ones are written <...> or
    [...], so that only a model's own words, never data, are read as them.
    """
    from tokenizers import AddedToken, Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    before = {token: tokenizer.encode(token, add_special_tokens=False).ids for token in tokens}
    for token in before:
        _check(token, tokenizer.token_to_id(token))
    # not special: a model's own text may hold them
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in before])
    copy_tokenizer(folder, out)
    shutil.copyfile(folder / "config.json", out / "config.json")
    tokenizer.save(str(out / "tokenizer.json"))
    return {str(tokenizer.token_to_id(token)): ids for token, ids in before.items()}


def _check(token: str, known: int | None) -> None:
    if known is not None:
        raise ConfigError(f'new_special_tokens: the tokenizer has "{token}" already')
    marked = token[:1] + token[-1:] in ("<>", "[]") and len(token) > 2
    if not marked or any(character.isspace() for character in token):
        raise ConfigError(
            f'new_special_tokens: "{token}" could stand in any text',
            hint=f"write it <{token.strip('<>[]')}>, without white space",
        )


def grow(model: Any, size: int) -> None:
    """Makes room for ``size`` tokens in embeddings and head; never takes any away."""
    if len(model.get_input_embeddings().weight) < size:
        model.resize_token_embeddings(size, mean_resizing=False)


def begin_as_their_text(model: Any, tokens: Mapping[str, Sequence[int]]) -> None:
    """Sets the rows of new tokens to the mean of the rows that their text had before."""
    import torch

    weights: list[Tensor] = [model.get_input_embeddings().weight]
    head = model.get_output_embeddings()
    if head is not None and head.weight is not weights[0]:
        weights.append(head.weight)
    with torch.no_grad():
        for weight in weights:
            for token, ids in tokens.items():
                weight[int(token)] = weight[list(ids)].mean(0)


def tokenizer_of(base: Path, adapter: Path | None) -> Path:
    """Whose tokenizer a base with an adapter has: the adapter's where that knows more tokens."""
    return adapter if adapter is not None and tokens_beyond(base, adapter) else base


def tokens_beyond(folder: Path, other: Path) -> bool:
    """Whether the tokenizer in ``other`` knows more tokens than the one in ``folder``."""
    files = folder / "tokenizer.json", other / "tokenizer.json"
    if not all(file.is_file() for file in files):
        return False
    counts = [len(json.loads(file.read_text("utf-8")).get("added_tokens") or ()) for file in files]
    return counts[1] > counts[0]
