"""Several processes: the replies of one, in the order of the prompts; mistakes and deaths told."""

import pytest

from toolgrove.core.errors import ModelError
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.engine.base import Sampling, generate
from toolgrove.engine.local import LocalEngine
from toolgrove.engine.spread import SpreadEngine


def test_replies_are_those_of_one_process_and_a_mistake_is_told(llama):
    tok = load_tokenizer(llama)
    texts = ["user", "What is the weather in Paris?", "You may call one or more", "a", "tool\n" * 9]
    prompts = [tok.encode(text) for text in texts]
    drawn = Sampling(max_new_tokens=10, temperature=1.0, seed=3)
    alone = generate(LocalEngine.load(llama, dtype="float32"), prompts, drawn)
    engine = SpreadEngine(llama, count=2, dtype="float32")
    try:
        assert generate(engine, prompts, drawn) == alone
        assert generate(engine, prompts[:1], drawn) == alone[:1]
        with pytest.raises(ModelError, match="prompt 1: an empty prompt"):
            generate(engine, [prompts[0], []], drawn)
        assert generate(engine, prompts, drawn) == alone
        assert next(engine.stream(prompts, drawn)).index in range(5)  # given up after a chunk
        assert generate(engine, prompts[3:], Sampling(max_new_tokens=3))[0].ids
        engine._processes[0].kill()
        processes = list(engine._processes)
        with pytest.raises(ModelError, match="has died"):
            generate(engine, prompts, drawn)
    finally:
        engine.close()
    assert not any(process.is_alive() for process in processes)
