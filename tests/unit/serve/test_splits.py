"""Ten thousand streams, each reply in other pieces: what a client joins is the whole reply."""

import asyncio
import itertools
import random

import pytest

import toolgrove as tg
from tests.unit.serve.conftest import scripted
from tests.unit.serve.test_chat import TOOLS, events, joined, told, without_ids
from toolgrove.core.messages import Conversation, Message, Role, Tool, ToolCall
from toolgrove.core.spans import text_of
from toolgrove.engine.base import Finish
from toolgrove.engine.live import Piece
from toolgrove.engine.text import ReplyText
from toolgrove.serve.asking import ask_chat
from toolgrove.serve.chat import ChatAnswer
from toolgrove.serve.scheduler import Part
from toolgrove.serve.sse import chat_events
from toolgrove.serve.wire import ChatRequest

pytestmark = pytest.mark.slow

SPLITS = 10_000
DIALECTS = [
    ("chatml", "hermes"),
    ("qwen3", "hermes"),
    ("qwen3_coder", "qwen3_coder"),
    ("llama3", "llama3"),
    ("gpt_oss", "gpt_oss"),
    ("deepseek_v3_1", "deepseek_v3_1"),
    ("glm4_5", "glm4_5"),
    ("chatml", "react_en"),
]
NASTY = "Zürich 🙂 </tool_call> <tool_call>\n{}\u2028\n\ndata: [DONE]"
CALLS = (ToolCall("get_weather", {"city": NASTY}), ToolCall("get_time", {"city": "a\\nb \x85"}))
SAID = [
    Message(Role.ASSISTANT, "plain text, 你好 🙂 and more\n\ndata: x\r\n"),
    Message(Role.ASSISTANT, "", calls=CALLS[:1]),
    Message(Role.ASSISTANT, "Let me look.", calls=CALLS[1:]),
    Message(Role.ASSISTANT, "", thinking="hm 🙂", calls=CALLS[:1]),
]


class Written:
    """A dialect's replies as tokens, and a chat that they answer."""

    def __init__(self, chat, agent):
        d = tg.dialect(chat, agent=agent)
        tools = tuple(map(Tool, TOOLS))
        self.replies = []
        for message in SAID:
            conv = Conversation((Message(Role.USER, "q"), message), tools)
            if not d.losses(conv):
                self.replies.append(text_of(d.turns(conv)[-1].completion))
        self.served = scripted(self.replies, chat, agent)
        body = {"messages": [{"role": "user", "content": "q"}], "tools": TOOLS}
        self.request = ChatRequest.model_validate(body | {"stream": True})
        self.ask = ask_chat(self.request, self.served)

    def answer(self):
        return ChatAnswer(self.request, self.ask, self.served)

    def parts(self, tokens, sizes):
        """The tokens in pieces of these sizes, as an engine gives them."""
        text = ReplyText(self.served.tokenizer.decode, self.ask.jobs[0].sampling.stop)
        while True:
            count = next(sizes)
            some, tokens = tokens[:count], tokens[count:]
            new = "".join(text.push(token) for token in some if not text.stopped)
            ended = text.stopped or not tokens
            new += text.finish() if ended else ""
            yield Part(0, Piece(0, tuple(some), new, Finish.STOP if ended else None))
            if ended:
                return


class Body:
    """A response, as far as its readers look."""

    def __init__(self, text, whole=None):
        self.text, self.whole = text, whole

    def json(self):
        return self.whole


async def each(parts):
    for part in parts:
        yield part


async def streamed(written, parts):
    lines = [line async for line in chat_events(written.answer().chunks(each(parts)))]
    return joined(events(Body("".join(lines))))


def test_a_stream_in_any_pieces_is_the_whole_reply():
    dice = random.Random(7)
    every = [Written(*names) for names in DIALECTS]
    called = 0
    with asyncio.Runner() as runner:
        for number in range(SPLITS):
            written = every[number % len(every)]
            tokens = written.served.tokenizer.encode(dice.choice(written.replies))
            if dice.random() < 0.3:
                tokens = tokens[: dice.randrange(len(tokens))]
            whole = written.answer()
            for part in written.parts(tokens, itertools.repeat(len(tokens) + 1)):
                whole.take(part)
            most = dice.choice((1, 2, 5, 20))
            parts = written.parts(tokens, iter(lambda most=most: dice.randint(1, most), None))
            got, why = runner.run(streamed(written, parts))
            message, reason = told(Body("", whole.whole()))
            assert without_ids(got) == without_ids(message), (number, DIALECTS[number % 8])
            assert why == reason
            called += len(message["tool_calls"])
    assert called > SPLITS // 4
