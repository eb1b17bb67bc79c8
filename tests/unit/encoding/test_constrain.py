"""Generation held to a grammar over a real tokenizer's tokens."""

from pathlib import Path

import pytest

from tests.laws.grammars import tool
from toolgrove.core.messages import ToolCall
from toolgrove.core.spans import text_of
from toolgrove.encoding.constrain import Constrainer, token_bytes
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.templates.dialect import dialect
from toolgrove.templates.values import Step

FOLDERS = Path("../shared/tokenizers")
TEXT = 'Hi <tool_call>\n{"a": "你好 🙂  é"}'
ONE = [tool("f", {"a": {"type": "string"}}, ["a"])]


def shared(name):
    folder = FOLDERS / name
    if not folder.is_dir():
        pytest.skip(f"needs {folder}")
    return load_tokenizer(folder)


@pytest.mark.parametrize("name", ["smollm2", "qwen3", "gemma3", "mistral_nemo", "llama3_1"])
def test_the_bytes_of_tokens_make_the_text(name):
    tokenizer = shared(name)
    pieces = token_bytes(tokenizer)
    assert b"".join(pieces[number] for number in tokenizer.piece(TEXT).ids).decode() == TEXT
    assert len(pieces) == tokenizer.vocab_size


@pytest.mark.parametrize(
    ("name", "chat", "agent"),
    [
        ("smollm2", "smollm2", "hermes"),
        ("qwen3", "qwen3", "hermes"),
        ("deepseek_v3_1", "deepseek_v3_1", "deepseek_v3_1"),
        ("mistral_nemo", "mistral_nemo", "mistral"),
    ],
)
def test_a_reply_token_by_token(name, chat, agent):
    pytest.importorskip("xgrammar", reason='needs "toolgrove[grammar]"')
    tokenizer = shared(name)
    d = dialect(chat, agent)
    matcher = Constrainer(tokenizer, d.stops).matcher(d.grammar(ONE, "required"))
    assert len(d.read(_reply(d), ONE).calls) == 1
    for number in tokenizer.encode(_reply(d)):
        allowed = matcher.allowed()
        assert number in allowed
        assert all(matcher.allows(n) == (n in allowed) for n in (*range(90, 99), number))
        assert matcher.accept(number)
    stop = tokenizer.token_id(d.stops[0])
    assert stop in matcher.allowed()
    assert matcher.accept(stop)
    assert matcher.done


def test_control_tokens_that_the_grammar_does_not_name_are_out():
    pytest.importorskip("xgrammar", reason='needs "toolgrove[grammar]"')
    tokenizer = shared("qwen3")
    d = dialect("qwen3", "hermes")
    matcher = Constrainer(tokenizer, d.stops, 151936).matcher(d.grammar(ONE))
    allowed = set(matcher.allowed())
    assert tokenizer.token_id("<|im_start|>") not in allowed
    assert not matcher.accept(tokenizer.token_id("<|im_start|>"))
    assert tokenizer.token_id("<tool_call>") in allowed
    assert tokenizer.token_id("<|im_end|>") in allowed
    assert max(allowed) < tokenizer.vocab_size
    assert matcher.mask().shape == (1, 151936 // 32)


def _reply(d):
    call = ToolCall("f", {"a": "你好 </tool_call> <|im_end|x"})
    return text_of(d.agent.write_calls((call,), Step(tuple(ONE))))
