"""Harmony: tools as a TypeScript namespace, calls addressed to ``functions.NAME`` (gpt-oss)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, cast

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, Calls, json_calls
from toolgrove.templates.reading import cut_off, held, past_space, system_span
