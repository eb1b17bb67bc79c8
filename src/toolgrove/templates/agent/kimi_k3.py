"""Kimi K3: tags of control tokens around each argument, which names its type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, ClassVar, cast

from toolgrove.core.errors import TemplateError
from toolgrove.core.jsonish import INCOMPLETE, dump, loads_object, object_end
from toolgrove.core.messages import Tool, ToolCall
from toolgrove.core.spans import Kind, Span
from toolgrove.templates.base import AgentTemplate, agent_registry, scaffold
from toolgrove.templates.grammar import Grammar
from toolgrove.templates.reading import find_call, past_marks, past_space, system_span
from toolgrove.templates.tag_rules import TagForm, tagged_calls
