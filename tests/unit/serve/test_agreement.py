"""What is served is what is trained: the same prompt for the same conversation."""

from hypothesis import given

from tests.laws.strategies import conversations
from tests.unit.serve.conftest import scripted
from toolgrove.cli.endpoint import _wire
from toolgrove.core.errors import TemplateError
from toolgrove.encoding.encode import prompt_ids, refuse_losses
from toolgrove.serve.asking import prompt_of
from toolgrove.serve.wire import TokenizeRequest

SERVED = {name: scripted(["x"], name) for name in ("chatml", "qwen3", "llama3")}


@given(conversations())
def test_a_chat_that_is_sent_is_the_prompt_that_is_trained(conv):
    body = {"messages": [_wire(message) for message in conv.messages]}
    if conv.tools:
        body["tools"] = [tool.spec for tool in conv.tools]
    sent = TokenizeRequest.model_validate(body)
    for served in SERVED.values():
        dialect = served.base.speech.dialect()
        try:
            refuse_losses(conv, dialect)
        except TemplateError:
            continue
        got = prompt_of(served, served.base, sent.messages, sent.tools, {})
        assert got.ids == prompt_ids(conv, dialect, served.tokenizer)
        assert got.lost == ()
