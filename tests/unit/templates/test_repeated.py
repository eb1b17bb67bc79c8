"""Tests of the texts that are kept: they are what is written anew."""

import pytest

import toolgrove as tg
from toolgrove.core.errors import TemplateError
from toolgrove.core.messages import Tool
from toolgrove.templates.base import agent_registry
from toolgrove.templates.repeated import tool_text, written_once


def tool(default: object) -> Tool:
    properties = {"at": {"type": "number", "default": default}}
    parameters = {"type": "object", "properties": properties, "required": ["at"]}
    return Tool({"type": "function", "function": {"name": "f", "parameters": parameters}})


@pytest.mark.parametrize("name", tg.agent_templates())
def test_a_kept_text_is_the_text_written_anew(name: str) -> None:
    agent = agent_registry.get(name)()
    for default in (1, 1.0, True, "1", None, [1], {"b": 1, "a": 2}, {"a": 2, "b": 1}):
        for given in ("Answer.", None):
            for _ in range(2):
                kept = tool_text(agent, [tool(default)], given, "Be brief.")
                assert kept == agent.write_tools([tool(default)], given, "Be brief.")


def test_a_kept_text_is_the_callers_own() -> None:
    agent = agent_registry.get("hermes")()
    first = tool_text(agent, [tool(1)], "Answer.", None)
    first.system.clear()
    assert tool_text(agent, [tool(1)], "Answer.", None).system


def test_a_tool_that_changes_is_written_anew() -> None:
    agent, changing = agent_registry.get("hermes")(), tool(1)
    before = tool_text(agent, [changing], None, None)
    changing.function["description"] = "Changed."
    assert tool_text(agent, [changing], None, None) != before


def test_what_json_cannot_carry_is_refused_each_time() -> None:
    agent = agent_registry.get("hermes")()
    for _ in range(2):
        with pytest.raises(TemplateError, match="JSON"):
            tool_text(agent, [tool(float("nan"))], None, None)


def test_a_tool_with_other_values_than_jsons_is_written_too() -> None:
    class Words(str):
        __slots__ = ()

    agent = agent_registry.get("hermes")()
    kept = tool_text(agent, [tool("x")], None, None)
    assert tool_text(agent, [tool(Words("x"))], None, None) == kept
    assert written_once(lambda one: one.name)(tool(Words("x"))) == "f"


def test_a_number_that_only_looks_like_plain_json_is_written_as_itself() -> None:
    numpy = pytest.importorskip("numpy")
    agent = agent_registry.get("hermes")()
    kept = tool_text(agent, [tool(0.5)], None, None)
    assert tool_text(agent, [tool(numpy.float64(0.5))], None, None) == kept
