"""Registries: folder scan, plug-in files, clashes."""

import pytest

from toolgrove.core.errors import ConfigError, TemplateError
from toolgrove.core.registry import Registry, load_plugin


def registry():
    return Registry("agent template", "toolgrove.templates.agent", "toolgrove.none")


def test_an_unknown_name_tells_the_nearest():
    own = registry()
    own.put("hermes", object(), "a")
    with pytest.raises(TemplateError, match='unknown agent template "hermez"') as error:
        own.get("hermez")
    assert 'did you mean "hermes"?' in str(error.value)


def test_two_modules_cannot_share_a_name():
    own = registry()
    own.put("x", object(), "one")
    own.put("x", object(), "one")
    with pytest.raises(ConfigError, match="registered twice"):
        own.put("x", object(), "two")


def test_a_plugin_file_adds_a_template(tmp_path):
    import toolgrove as tg

    file = tmp_path / "mine.py"
    file.write_text(
        "from toolgrove.templates.agent.hermes import Hermes\n"
        "from toolgrove.templates.base import agent_registry\n"
        "@agent_registry.add('my_hermes')\n"
        "class Mine(Hermes):\n"
        "    pass\n"
    )
    load_plugin(file)
    load_plugin(file)
    assert "my_hermes" in tg.agent_templates()
    assert tg.dialect("chatml", agent="my_hermes").agent_name == "my_hermes"
    agents = __import__("toolgrove.templates.base").templates.base.agent_registry
    del agents._entries["my_hermes"]


def test_a_missing_plugin_is_named():
    with pytest.raises(ConfigError, match="not found"):
        load_plugin("nowhere.py")


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("x = 1\n\nx.y\n", 3, "AttributeError"),
        ("x = 1\ndef f(:\n", 2, "SyntaxError"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError"),
        ("import no_such_module\n", 1, "no_such_module"),
    ],
)
def test_a_plugin_that_raises_is_named_with_its_line_each_time(tmp_path, text, line, says):
    file = tmp_path / "mine.py"
    file.write_text(text)
    for _ in range(2):
        with pytest.raises(ConfigError, match=says) as caught:
            load_plugin(file)
        assert caught.value.where == f"{file}:{line}"
