"""MiniMax-M3's elements: the schema that a reader sees of one, and calls in them as a grammar."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, cast

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON
from toolgrove.templates.any_order import Members, Piece, in_any_order
from toolgrove.templates.options import ANY, Option, options, plain_kind
