"""Training some of a model's own weights while the others stay as they are."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolgrove.core.errors import ConfigError
from toolgrove.models.targets import pattern

if TYPE_CHECKING:
    from torch import nn

_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.|(?:^|\.)h\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Freeze:
    """What is trained: the last ``layers`` layers (below 0: the first), weights by how their names
    begin, weights by a regular expression found in their names; all, where none of these is given.

    ``frozen`` and ``frozen_regex`` are left out whatever else is said.
    """

    layers: int | None = None
    trained: tuple[str, ...] = ()
    trained_regex: str | None = None
    frozen: tuple[str, ...] = ()
    frozen_regex: str | None = None


def freeze(model: nn.Module, what: Freeze) -> list[str]:
    """Marks what is to be trained and what not; returns the names of the trained weights.

    ConfigError, with the model's real names, when a name, a number of layers or an expression
    fits no weight, or nothing would be trained. Weights that are tied are trained together.
    """
    names = [name for name, _ in model.named_parameters()]
    wanted: set[str] = set()
    if what.layers is not None:
        wanted |= _of_layers(names, what.layers)
    wanted |= _beginning(names, what.trained, "trainable_parameters")
    if what.trained_regex is not None:
        wanted |= _found(names, what.trained_regex, "trainable_parameters_regex")
    if not (what.layers is not None or what.trained or what.trained_regex):
        wanted = set(names)
    wanted -= _beginning(names, what.frozen, "freeze_parameters")
    if what.frozen_regex is not None:
        wanted -= _found(names, what.frozen_regex, "freeze_parameters_regex")
    if not wanted:
        raise ConfigError("nothing would be trained: every weight is frozen")
    for name, weight in model.named_parameters():
        weight.requires_grad_(name in wanted)
    return sorted(wanted)


def _of_layers(names: Sequence[str], count: int) -> set[str]:
    numbers = {name: _number(name) for name in names}
    there = sorted({number for number in numbers.values() if number is not None})
    if not there or count == 0 or abs(count) > len(there):
        raise ConfigError(
            f"trainable_layers: {count} layers cannot be chosen",
            hint=f"the model has {len(there)}: 1 to {len(there)} count from the end,"
            f" -1 to -{len(there)} from the beginning",
        )
    chosen = set(there[-count:] if count > 0 else there[:-count])
    return {name for name, number in numbers.items() if number in chosen}


def _number(name: str) -> int | None:
    match = _LAYER.search(name)
    return int(match[1] or match[2]) if match else None


def _beginning(names: Sequence[str], starts: Sequence[str], setting: str) -> set[str]:
    chosen: set[str] = set()
    for start in starts:
        chosen |= _those(names, lambda name, start=start: name.startswith(start), start, setting)
    return chosen


def _found(names: Sequence[str], regex: str, setting: str) -> set[str]:
    search = pattern(regex, setting).search
    return _those(names, lambda name: search(name) is not None, regex, setting)


def _those(
    names: Sequence[str], fits: Callable[[str], bool], written: str, setting: str
) -> set[str]:
    chosen = {name for name in names if fits(name)}
    if not chosen:
        some = ", ".join(dict.fromkeys([*names[:4], *names[-2:]]))
        raise ConfigError(
            f"{setting}: no weight's name fits {written!r}", hint=f"names look like {some}"
        )
    return chosen
