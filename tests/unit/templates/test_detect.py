"""A model folder's own template decides which dialect it speaks."""

import json
import re
from pathlib import Path

import pytest

import toolgrove as tg
from toolgrove.core.errors import TemplateError
from toolgrove.templates.detect import detect
from toolgrove.templates.own_folder import own_template

SHARED = Path(__file__).parents[4] / "shared" / "tokenizers"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\n' + message.content "
    "+ '<|im_end|>\n' }}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)


def folder(tmp_path, template):
    config = {"chat_template": template, "bos_token": {"content": "<s>"}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return tmp_path


def test_an_equal_template_is_found_whatever_its_wording(tmp_path):
    found = detect(folder(tmp_path, CHATML))
    assert found.name == "chatml"
    assert "probes" in found.reason
    assert tg.dialect_for(tmp_path, agent="hermes").agent_name == "hermes"


def test_an_edited_template_is_not_taken_for_its_parent(tmp_path):
    edited = CHATML.replace("message.content", "message.content | trim")
    found = detect(folder(tmp_path, edited))
    assert found.name == "jinja"
    assert "none of the known" in found.reason
    assert "nearest: " in found.reason
    d = tg.dialect_for(tmp_path)
    assert (d.chat_name, d.native) == ("jinja", True)
    with pytest.raises(TemplateError, match="needs a known chat template") as error:
        tg.dialect_for(tmp_path, agent="hermes")
    assert "--template" in str(error.value)


def test_native_false_is_the_folders_own_jinja_whatever_it_is(tmp_path):
    d = tg.dialect_for(folder(tmp_path, CHATML), native=False)
    assert d.chat_name == "jinja"


@pytest.mark.parametrize(
    "edit",
    [
        ("<|im_end|>\n' }}{% endfor %}", "<|im_end|>' }}{% endfor %}"),
        ("message.content ", "(message.content if message.role != 'tool' else 'x') "),
        ("message.content ", "(message.content | replace('</think>', '')) "),
        ("{% for message in messages %}", "{% for message in messages if message.content %}"),
        ("{% if add", "{% if messages | length > 7 %}!{% endif %}{% if add"),
        ("{% if add", "{% if tools and tools | length > 1 %}!{% endif %}{% if add"),
    ],
)
def test_small_edits_are_seen(tmp_path, edit):
    assert edit[0] in CHATML
    assert detect(folder(tmp_path, CHATML.replace(*edit))).name == "jinja"


AROUND = {
    "a refused role": "{% if messages[0].role == 'system' %}{{ raise_exception('no') }}{% endif %}",
    "an error for a role": "{% if messages[0].role == 'system' %}{{ 1 / 0 }}{% endif %}",
    "an error for tools": "{{ 'x' + 1 if tools and tools | length == 3 }}",
    "a refused turn": (
        "{% for m in messages %}{% if loop.index0 == 0 and m.role == 'assistant' %}"
        "{{ raise_exception('user first') }}{% endif %}{% endfor %}"
    ),
    "a date": "{% if strftime_now('%m') == '12' %}Merry{% endif %}",
    "five results": (
        "{% if messages | selectattr('role', 'equalto', 'tool') | list | length > 4 %}!{% endif %}"
    ),
    "a long talk": "{% if messages | length > 40 %}!{% endif %}",
    "a late message": "{% for m in messages[40:] %}!{% endfor %}",
    "an option": "{% if secret is defined %}!{% endif %}",
    "an option's default": "{{ '!' if not (polite | default(true)) }}",
    "arithmetic": "{{ '!' * (messages | length // 60) }}",
    "a named speaker": "{% for m in messages if m.name == 'admin' %}!{% endfor %}",
    "a word": "{% if 'password' in messages[-1].content | string %}!{% endif %}",
    "a long text": "{{ '!' if messages[0].content | string | length > 1000 }}",
    "many tools": "{{ '!' if tools and tools | length > 5 }}",
    "a tool's name": "{% for t in tools or [] if t.function.name == 'python' %}!{% endfor %}",
    "a macro": (
        "{% macro x() %}!{% endmacro %}{% if messages[0].content == 'x' %}{{ x() }}{% endif %}"
    ),
    "a state": (
        "{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}"
        "{{ {17: '!'}.get(ns.n, '') }}"
    ),
    "a pair": "{{ '!' if tools and messages | length > 8 and messages[0].role == 'system' }}",
    "a start": "{{ '!' if (messages[-1].content | string).startswith('/cmd') }}",
    "a joined list": "{{ messages[30:] | map(attribute='role') | join }}",
    "a picked list": (
        "{{ messages | selectattr('role', 'equalto', 'developer') | map(attribute='content')"
        " | join }}"
    ),
    "a prompt": "{{ '!' if add_generation_prompt and messages | length > 20 }}",
}
"""What changes nothing on the probes, or only refuses, before or after a whole template."""
INSIDE = {
    "a word replaced": "(message.content | replace('foo', 'bar'))",
    "a word replaced by a method": "message.content.replace('foo', 'bar')",
    "marks stripped": "message.content.strip('~')",
    "long texts cut": "message.content[:4000]",
    "long texts truncated": "(message.content | truncate(5000, true, ''))",
    "a part of it": "message.content.split('~~~')[0]",
    "without a prefix": "message.content.removeprefix('/no_think')",
    "at the tenth message": "(message.content if loop.index != 30 else '')",
}
"""What stands in the place of a message's content."""
MESSAGES = {
    "the last thirty": "messages[-30:]",
    "all but some": "messages | rejectattr('name', 'equalto', 'hidden')",
    "without twins": "messages | unique(attribute='content')",
}
OPEN = ["chatml", "smollm2"]
"""Templates every part of which the probes show, so that only the edit can be what is not shown."""


def told(tmp_path, parent, edit):
    """What is made of a template of which ``edit`` gives the edited text."""
    variables = {"bos_token": "<s>"}
    source = CHATML
    if parent != "chatml":
        if not (SHARED / parent).is_dir():
            pytest.skip("the makers' tokenizers are not at hand")
        own = own_template(SHARED / parent)
        source, variables = own.source, own.variables
    edited = edit(source)
    assert edited != source
    config = {"chat_template": edited, **variables}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    return detect(tmp_path)


@pytest.mark.parametrize("parent", [*OPEN, "qwen3", "mistral_nemo", "gpt_oss"])
@pytest.mark.parametrize("name", AROUND)
def test_edits_that_no_probe_shows_are_not_taken_for_the_parent(tmp_path, parent, name):
    before = len(name) % 2
    added = AROUND[name]
    found = told(tmp_path, parent, lambda source: added + source if before else source + added)
    assert found.name == "jinja"
    if parent in OPEN:
        assert re.search("line \\d+: |refuses what|nearest", found.reason)


@pytest.mark.parametrize("name", INSIDE)
def test_edits_of_a_content_that_no_probe_shows(tmp_path, name):
    found = told(tmp_path, "chatml", lambda s: s.replace("message.content", INSIDE[name]))
    assert found.name == "jinja"
    assert re.search("line \\d+: ", found.reason)


@pytest.mark.parametrize("parent", OPEN)
@pytest.mark.parametrize("name", MESSAGES)
def test_edits_of_the_messages_that_no_probe_shows(tmp_path, parent, name):
    found = told(tmp_path, parent, lambda s: s.replace("in messages", f"in {MESSAGES[name]}"))
    assert found.name == "jinja"


def test_the_makers_own_text_is_known_and_another_wording_shown(tmp_path):
    found = told(tmp_path, "smollm2", lambda source: "{# mine #}" + source)
    assert found.name == "smollm2"
    assert "show every part" in found.reason
    assert "own text" in detect(SHARED / "smollm2").reason


def test_a_separate_template_file_wins(tmp_path):
    folder(tmp_path, "{{ raise_exception('no') }}")
    (tmp_path / "chat_template.jinja").write_text(CHATML)
    assert detect(tmp_path).name == "chatml"


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for %}", "not valid Jinja"),
        (None, "no chat template"),
        ("{{ raise_exception('never') }}", "never"),
        ("{{ messages.__class__.__mro__ }}", "raises"),
        ("{{ '' }}", "writes nothing"),
        ("{% include '/etc/passwd' %}", "may read none"),
        ("{{ header + messages[0].content }}", "'header' is undefined"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "steps"),
    ],
)
def test_templates_that_do_not_work_are_clear_errors(tmp_path, template, says):
    with pytest.raises(TemplateError, match=says) as error:
        detect(folder(tmp_path, template))
    assert error.value.where == str(tmp_path)
    assert "--" in str(error.value.hint)


@pytest.mark.skipif(
    not SHARED.is_dir(), reason="the shared tokenizers are not beside this checkout"
)
def test_templates_that_differ_in_the_system_prompt_alone_are_told_apart():
    assert detect(SHARED / "gemma3").name == "gemma3"


TOKENIZERS = Path(__file__).parents[4] / "shared" / "tokenizers"
CANONICAL = {
    "deepseek_v3": "deepseek_v3",
    "deepseek_v3_1": "deepseek_v3_1",
    "gemma3": "gemma3",
    "gpt_oss": "gpt_oss",
    "llama3_1": "llama3_1",
    "llama4": "llama4",
    "mistral_nemo": "mistral_nemo",
    "qwen2_5": "qwen2_5",
    "qwen3": "qwen3",
    "qwen3_5": "qwen3_5_think",
    "smollm2": "smollm2",
}


@pytest.mark.parametrize(("name", "known_as"), CANONICAL.items())
def test_a_folder_is_named_as_its_maker_names_it(name, known_as):
    if not (TOKENIZERS / name).is_dir():
        pytest.skip("the makers' tokenizers are not at hand")
    assert detect(TOKENIZERS / name).name == known_as
