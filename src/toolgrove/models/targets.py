"""Which layers of a model get adapters, found by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from toolgrove.core.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from torch import nn

ALL_LINEAR = "all-linear"
ALL_EMBEDDING = "all-embedding"
_SAME = {"ALL": ALL_LINEAR, "EMBEDDING": ALL_EMBEDDING}


def targets(model: nn.Module, wanted: Sequence[str], regex: str | None = None) -> str | list[str]:
    """The targets as peft takes them: a list of last names, or a regular expression.

    ``all-linear`` (``ALL``) stands for every linear layer but the head, ``all-embedding``
    (``EMBEDDING``) for the embeddings. Errors: ConfigError with the model's real names when
    something is not among them.
    """
    if regex is not None:
        return _matching(model, regex)
    names = [_SAME.get(name, name) for name in wanted]
    if not names:
        raise ConfigError(
            "target_modules is empty", hint=f'"{ALL_LINEAR}" takes every linear layer'
        )
    if names == [ALL_LINEAR]:
        return ALL_LINEAR
    rest = [name for name in names if name not in (ALL_LINEAR, ALL_EMBEDDING)]
    check_names(model, rest, "target_modules")
    linear = linear_names(model) if ALL_LINEAR in names else []
    embeddings = embedding_names(model) if ALL_EMBEDDING in names else []
    return list(dict.fromkeys([*linear, *embeddings, *rest]))


def linear_names(model: nn.Module) -> list[str]:
    """The last names of all linear layers but the language-model head (``q_proj``, ...)."""
    from torch import nn

    head = _head(model)
    return sorted(
        {
            name.rpartition(".")[2]
            for name, module in model.named_modules()
            if isinstance(module, nn.Linear) and module is not head
        }
    )


def embedding_names(model: nn.Module) -> list[str]:
    """The last names of all embeddings (``embed_tokens``)."""
    from torch import nn

    found = (name for name, module in model.named_modules() if isinstance(module, nn.Embedding))
    return sorted({name.rpartition(".")[2] for name in found})


def check_names(model: nn.Module, wanted: Sequence[str], setting: str) -> None:
    """ConfigError, with the real names, when a module is not there."""
    names = [name for name, _ in model.named_modules() if name]
    for want in wanted:
        if any(name == want or name.endswith(f".{want}") for name in names):
            continue
        known = sorted({name.rpartition(".")[2] for name in names if not name[-1].isdigit()})
        raise ConfigError(
            f'{setting}: the model has no module "{want}"',
            hint=f"{_near(want, known)}its linear layers: {', '.join(linear_names(model))}",
        )


def check_parameters(model: nn.Module, wanted: Sequence[str], setting: str) -> None:
    """ConfigError, with examples of real names, when a weight is not there."""
    names = [name for name, _ in model.named_parameters()]
    for want in wanted:
        if any(name == want or name.endswith(f".{want}") for name in names):
            continue
        lasts = sorted({_last_names(name) for name in names})
        raise ConfigError(
            f'{setting}: the model has no weight "{want}"',
            hint=f"{_near(want, lasts)}its weights: {', '.join(lasts)}",
        )


def pattern(regex: str, setting: str) -> re.Pattern[str]:
    """The compiled expression; ConfigError when it is none."""
    try:
        return re.compile(regex)
    except re.error as error:
        raise ConfigError(f"{setting}: not a regular expression: {error}") from error


def _matching(model: nn.Module, regex: str) -> str:
    whole = pattern(regex, "target_regex")
    names = [name for name, _ in model.named_modules() if name]
    if not any(whole.fullmatch(name) for name in names):
        linear = set(linear_names(model))
        some = [name for name in names if name.rpartition(".")[2] in linear][:8]
        raise ConfigError(
            f"target_regex: no module's whole name matches {regex!r}",
            hint=f"names look like {', '.join(some)}, ...",
        )
    return regex


def _near(want: str, known: Sequence[str]) -> str:
    near = did_you_mean(want, known)
    return f"{near} " if near else ""


def _last_names(name: str) -> str:
    """The part of a weight's name behind the number of its layer."""
    return re.split(r"\.\d+\.", name)[-1]


def _head(model: nn.Module) -> nn.Module | None:
    score = getattr(model, "score", None)  # of a model that scores whole sequences
    if score is not None:
        return score
    find = getattr(model, "get_output_embeddings", None)
    return find() if callable(find) else None  # pyright: ignore[reportReturnType]
