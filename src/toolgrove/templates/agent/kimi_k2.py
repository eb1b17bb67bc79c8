"""Kimi K2: JSON arguments behind the call's id, functions.NAME:NUMBER, in a section of calls."""

from __future__ import annotations

import re
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import BROKEN, INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold
from toolgrove.templates.grammar import Grammar, Opening
from toolgrove.templates.json_calls import CallForm, json_calls
from toolgrove.templates.reading import find_call, past_marks, past_space, system_span
from toolgrove.templates.rules import literal
