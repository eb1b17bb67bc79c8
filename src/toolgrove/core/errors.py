"""Errors that say what is wrong, where, and how to go on."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class ToolgroveError(Exception):
    """A mistake that the user can mend; commands print it without a traceback and exit with 2.

    ``what`` says what is wrong, ``where`` the place (``train.jsonl:17``, ``recipe.yaml:4``),
    ``hint`` the way out.
    """

    def __init__(self, what: str, *, where: str | None = None, hint: str | None = None) -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.hint = hint

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        way_out = f"\n  hint: {self.hint}" if self.hint else ""
        return f"{place}{self.what}{way_out}"

    def at(self, where: str) -> ToolgroveError:
        """The same error, told with a place in front of the one it has."""
        place = f"{where}, {self.where}" if self.where else where
        return type(self)(self.what, where=place, hint=self.hint)


class DataError(ToolgroveError):
    """A row, a file or a data source that cannot be used as it is."""


class ConfigError(ToolgroveError):
    """A setting, flag or recipe that does not fit."""


class TemplateError(ToolgroveError):
    """A conversation that a dialect cannot write, or a template that is not known."""


class TokenizerError(ToolgroveError):
    """A tokenizer that is missing or does not give back what it was given."""


class ModelError(ToolgroveError):
    """A model, an adapter or a checkpoint that cannot be used."""


class ToolError(ToolgroveError):
    """A tool, or where it comes from (a file, a server, a description), that cannot be used."""


class EvalError(ToolgroveError):
    """An evaluation that cannot be run as asked."""


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """``did you mean "x"?`` for the nearest known name, or None when nothing is near.

    A name of the same letters, two of them swapped, is nearer than any other.
    """
    names = sorted(known)
    swapped = [other for other in names if sorted(other) == sorted(name)]
    near = swapped or difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f'did you mean "{near[0]}"?' if near else None
