"""Labels of whole conversations: a class, several classes, or numbers to predict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from enum import StrEnum
from typing import Any

from toolgrove.core.errors import DataError
from toolgrove.core.samples import Labelled
from toolgrove.data.fields import as_list, bad, describe
from toolgrove.data.formats import conversation
from toolgrove.data.load import rename_columns
from toolgrove.data.rows import Row

_LABEL = "label"


class Problem(StrEnum):
    """What a label is, by transformers' names."""

    SINGLE = "single_label_classification"
    """one class, by its number from 0"""
    MULTI = "multi_label_classification"
    """any number of classes: a list of their numbers"""
    REGRESSION = "regression"
    """a number, or a list of as many numbers as there are labels"""


def labelled(row: Row, columns: Mapping[str, str], problem: Problem, count: int) -> Labelled:
    """The conversation of a row with its column ``label``; DataError with the row's place.

    ``count`` is how many classes, or numbers, there are. A row need not have an answer.
    """
    try:
        conv = conversation(rename_columns(row.value, columns) if columns else row.value)
        value = conv.extra.get(_LABEL)
        if value is None:
            raise DataError("no label", hint=f'add "label": {_EXAMPLES[problem]}')
        rest = {name: kept for name, kept in conv.extra.items() if name != _LABEL}
        label = _READ[problem](value, count)
    except DataError as error:
        raise error.at(row.where) from None
    return Labelled(replace(conv, extra=rest).without_given(), label, row.where)


def _one(value: Any, count: int) -> tuple[float, ...]:
    return (float(_class(value, count, _LABEL)),)


def _several(value: Any, count: int) -> tuple[float, ...]:
    found = as_list(value)
    if found is None:
        raise bad(_LABEL, f"expected a list of classes, found {describe(value)}")
    chosen = {_class(each, count, f"{_LABEL}[{place}]") for place, each in enumerate(found)}
    return tuple(float(number in chosen) for number in range(count))


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    found = as_list(value)
    found = [value] if found is None else found
    for each in found:
        if isinstance(each, bool) or not isinstance(each, int | float):
            raise bad(_LABEL, f"expected a number, found {describe(each)}")
    if len(found) != count:
        raise bad(_LABEL, f"{len(found)} numbers, but num_labels is {count}")
    return tuple(map(float, found))


def _class(value: Any, count: int, path: str) -> int:
    if isinstance(value, bool) and count == 2:
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise bad(path, f"expected the number of a class, found {describe(value)}")
    if not 0 <= value < count:
        raise bad(
            path, f"class {value}, but num_labels is {count}", f"classes are 0 to {count - 1}"
        )
    return value


_READ = {Problem.SINGLE: _one, Problem.MULTI: _several, Problem.REGRESSION: _numbers}
_EXAMPLES = {Problem.SINGLE: "1", Problem.MULTI: "[0, 2]", Problem.REGRESSION: "0.5"}
