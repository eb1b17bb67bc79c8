"""Flags from settings, whatever way they are written."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

import pytest
from pydantic import Field

from toolgrove.cli.flags import Shape, flags_of, read, shape_of, spell
from toolgrove.cli.help import command_help
from toolgrove.config.settings import Settings, resolve
from toolgrove.core.errors import ConfigError


class Colour(StrEnum):
    RED = "red"


class Paint(Settings):
    model: str
    """Which model."""
    learning_rate: float = 1e-4
    """How fast."""
    dataset: list[str] = []
    """Which data."""
    target: str | list[str] = "all"
    """Which layers."""
    template_options: dict[str, Any] = {}
    """Variables."""
    packing: bool = False
    """Whether to pack."""
    max_length: int | None = 5
    """How long."""
    tuner_type: Literal["lora", "full"] = "lora"
    """How to tune."""
    colour: Colour = Colour.RED
    """Which colour."""
    as_json: bool = Field(default=False, alias="json")
    """Whether to print JSON."""


@pytest.mark.parametrize(
    ("annotation", "shape"),
    [
        (str | None, Shape.ONE),
        (Path, Shape.ONE),
        (bool | None, Shape.SWITCH),
        (tuple[str, ...], Shape.MANY),
        (str | list[str], Shape.MANY),
        (dict[str, Any], Shape.PAIRS),
        (Paint | None, Shape.PAIRS),
    ],
)
def test_shapes(annotation: Any, shape: Shape) -> None:
    assert shape_of(annotation) is shape


@pytest.mark.parametrize(
    ("words", "spelled"),
    [
        ("--model m", "--model=m"),
        ("--model=m", "--model=m"),
        ("--learning-rate -1", "--learning_rate=-1"),
        ("--dataset a b --model m", "--dataset=a --dataset=b --model=m"),
        ("--custom_train_dataset_path a", "--dataset=a"),
        ("--packing", "--packing=true"),
        ("--packing false", "--packing=false"),
        ("--no-packing", "--packing=false"),
        ("--packing --json", "--packing=true --json=true"),
        ("--packing a.jsonl", "--packing=true -- a.jsonl"),
        ("--option a=b c=d rows", "--template_options=a=b --template_options=c=d -- rows"),
        ("-c r.yaml x", "--config=r.yaml -- x"),
        ("- --model m", "--model=m -- -"),
        ("--modle m", "--modle -- m"),
        ("--model m -- --model", "--model=m -- --model"),
        ("--model", "--model"),
        ("--dataset --json", "--dataset --json=true"),
    ],
)
def test_one_spelling(words: str, spelled: str) -> None:
    assert " ".join(spell(words.split(), flags_of(Paint))) == spelled


def test_words_become_values() -> None:
    given = {
        "model": "123",
        "learning_rate": "1e-5",
        "dataset": ['["a", "b"]'],
        "target": ["q"],
        "template_options": ["thinking=false", "depth=3", '{"name": "x"}'],
        "max_length": "null",
        "packing": "yes",
    }
    paint = resolve(Paint, None, read(given, Paint))
    assert paint == Paint(
        model="123",
        learning_rate=1e-5,
        dataset=["a", "b"],
        target="q",
        template_options={"thinking": False, "depth": 3, "name": "x"},
        max_length=None,
        packing=True,
    )
    assert resolve(Paint, None, read({"model": "m", "target": ["q", "v"]}, Paint)).target == [
        "q",
        "v",
    ]


@pytest.mark.parametrize("words", [["novalue"], ["a=[1"], ["{"]])
def test_pairs_that_are_none(words: list[str]) -> None:
    with pytest.raises(ConfigError, match="template_options"):
        read({"template_options": words}, Paint)


def test_help_has_a_sentence_for_every_flag() -> None:
    flags = flags_of(Paint)
    text = command_help("paint", "Paints.", "dataset", flags)
    for name, flag in flags.items():
        assert name in text
        assert flag.help
    flowing = " ".join(text.split())
    assert "One of: lora, full. [default: lora]" in flowing
    assert "One of: red." in flowing
