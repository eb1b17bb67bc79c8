"""Engines: exact tokens, stops, seeds, batches that do not change replies, live adapters."""

import json
import sys

import pytest
import torch

from toolgrove.core.errors import ModelError
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.engine import local
from toolgrove.engine.base import Finish, Sampling, generate
from toolgrove.engine.local import LocalEngine
from toolgrove.engine.scripted import ScriptedEngine
from toolgrove.models import decode
from toolgrove.models.adapters import Lora, add_adapter
from toolgrove.models.load import load_model


@pytest.fixture(scope="module")
def tok(llama):
    return load_tokenizer(llama)


@pytest.fixture
def engine(llama):
    return LocalEngine.load(llama, dtype="float32")


@pytest.fixture(scope="module")
def adapter(llama, tmp_path_factory):
    model = add_adapter(load_model(llama, torch.float32), Lora(rank=4))
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    folder = tmp_path_factory.mktemp("adapter")
    model.save_pretrained(str(folder))
    return folder


def prompts_of(tok):
    texts = ["user", "What is the weather in Paris?", "You may call one or more", "a", "tool\n" * 9]
    return [tok.encode(text) for text in texts]


def plainly(engine, prompt, count):
    """Greedy decoding without cache, batch or padding."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(count):
            ids.append(int(engine.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def test_a_batch_replies_as_each_prompt_alone(engine, tok):
    replies = generate(engine, prompts_of(tok), Sampling(max_new_tokens=12))
    for prompt, reply in zip(prompts_of(tok), replies, strict=True):
        expected = plainly(engine, prompt, 12)
        assert list(reply.ids) == expected[: len(reply.ids)]
        ended = reply.ids[-1] == tok.token_id("<|im_end|>")
        assert reply.finish == (Finish.STOP if ended else Finish.LENGTH)
        assert ended or len(reply.ids) == 12


def test_small_batches_and_large_ones_reply_alike(engine, tok, monkeypatch):
    sampling = Sampling(max_new_tokens=10, temperature=1.0, seed=3)
    together = generate(engine, prompts_of(tok), sampling)
    monkeypatch.setattr(local, "BATCH_ROWS", 2)
    assert generate(engine, prompts_of(tok), sampling) == together


def test_a_shared_beginning_changes_nothing(engine, tok):
    shared = tok.encode("You may call one or more functions to assist the user. " * 2)
    rests = ["a", "What is the weather in Paris?", "tool", "Thank you! " * 5]
    prompts = [shared + tok.encode(rest) for rest in rests] + [shared, shared[:20]]
    for some in (prompts, prompts[:4], [prompts[0]] * 3):
        replies = generate(engine, some, Sampling(10))
        for prompt, reply in zip(some, replies, strict=True):
            assert list(reply.ids) == plainly(engine, prompt, 10)[: len(reply.ids)]


@pytest.mark.parametrize("shared", ["", "You may call one or more functions to assist the user. "])
@pytest.mark.parametrize("tokens", [1, 24, 60])
def test_prompts_that_run_in_parts_reply_as_alone(engine, tok, monkeypatch, shared, tokens):
    monkeypatch.setattr(decode, "PREFILL_TOKENS", tokens)
    rests = ["a", "tool\n" * 9, "What is the weather in Paris?", "user", "Thank you! " * 5]
    prompts = [tok.encode(2 * shared + rest) for rest in rests]
    replies = generate(engine, prompts, Sampling(max_new_tokens=80))  # more than a layer's room
    for prompt, reply in zip(prompts, replies, strict=True):
        assert list(reply.ids) == plainly(engine, prompt, 80)[: len(reply.ids)]


def test_seeds_decide_and_differ(engine, tok):
    prompts = [tok.encode("user")] * 3
    once = generate(engine, prompts, Sampling(8, temperature=1.5, seed=1))
    assert once == generate(engine, prompts, Sampling(8, temperature=1.5, seed=1))
    assert len({reply.ids for reply in once}) > 1
    assert once != generate(engine, prompts, Sampling(8, temperature=1.5, seed=2))


def test_narrow_sampling_is_greedy(engine, tok):
    greedy = generate(engine, prompts_of(tok), Sampling(6))
    for narrow in (Sampling(6, 1.0, top_k=1), Sampling(6, 1.0, top_p=1e-6)):
        assert generate(engine, prompts_of(tok), narrow) == greedy


def test_a_stop_text_ends_the_reply(engine, tok):
    prompt = tok.encode("What is the weather in Paris?")
    free = generate(engine, [prompt], Sampling(16))[0]
    stop = free.text[3:6]
    reply = generate(engine, [prompt], Sampling(16, stop=(stop,)))[0]
    assert reply.finish is Finish.STOP
    assert reply.text == free.text[: free.text.index(stop)]
    assert free.ids[: len(reply.ids)] == reply.ids
    assert stop in tok.decode(list(reply.ids))


def test_a_stop_token_ends_the_reply_and_is_no_text(engine, tok):
    prompt = tok.encode("What is the weather in Paris?")
    free = generate(engine, [prompt], Sampling(16))[0]
    token = free.ids[4]
    ended = LocalEngine(engine.model, tok, eos=[token])
    reply = generate(ended, [prompt], Sampling(16))[0]
    assert reply.ids == free.ids[: free.ids.index(token) + 1]
    assert reply.finish is Finish.STOP
    assert tok.decode(list(reply.ids)).startswith(reply.text)


def test_chunks_carry_every_token_and_one_finish(engine, tok):
    chunks = list(engine.stream(prompts_of(tok), Sampling(7)))
    for index in range(5):
        own = [chunk for chunk in chunks if chunk.index == index]
        assert [chunk.finish is not None for chunk in own] == [False] * (len(own) - 1) + [True]
        assert sum(len(chunk.ids) for chunk in own) <= 7


def test_a_stream_can_be_left(engine, tok):
    stream = engine.stream(prompts_of(tok), Sampling(50))
    next(stream)
    stream.close()
    assert len(generate(engine, prompts_of(tok), Sampling(3))) == 5


def test_empty_and_endless_prompts_are_refused(engine, tok):
    with pytest.raises(ModelError, match="empty prompt") as caught:
        generate(engine, [tok.encode("a"), []], Sampling(3))
    assert caught.value.where == "prompt 1"
    with pytest.raises(ModelError, match="no room for a reply"):
        generate(engine, [[5] * 2048], Sampling(3))
    nearly = generate(engine, [[5] * 2046], Sampling(9))[0]
    assert len(nearly.ids) <= 2


def test_adapters_are_switched_while_it_runs(engine, llama, adapter, tok):
    prompts = prompts_of(tok)
    base = generate(engine, prompts, Sampling(8))
    engine.load_adapter("weather", adapter)
    assert generate(engine, prompts, Sampling(8)) == base
    engine.use("weather")
    tuned = generate(engine, prompts, Sampling(8))
    assert tuned != base
    assert tuned == generate(
        LocalEngine.load(llama, {"a": adapter}, dtype="float32"), prompts, Sampling(8)
    )
    engine.load_adapter("again", adapter)
    assert engine.adapters == ("weather", "again")
    engine.use("again")
    assert generate(engine, prompts, Sampling(8)) == tuned
    engine.use(None)
    assert generate(engine, prompts, Sampling(8)) == base
    engine.use("weather")
    engine.unload_adapter("weather")
    assert generate(engine, prompts, Sampling(8)) == base
    engine.unload_adapter("again")
    assert generate(engine, prompts, Sampling(8)) == base


def test_adapters_that_are_not_there_are_told(engine, adapter):
    with pytest.raises(ModelError, match='no adapter "x"'):
        engine.use("x")
    engine.load_adapter("weather", adapter)
    with pytest.raises(ModelError) as caught:
        engine.use("wether")
    assert caught.value.hint == 'did you mean "weather"?'
    with pytest.raises(ModelError, match="already"):
        engine.load_adapter("weather", adapter)


def test_scripted_replies_obey_the_same_rules(tok):
    engine = ScriptedEngine(["Hello there", "one Observation: two", "long " * 50, ""], tok)
    prompts = [[1], [2, 3], [4], [5]]
    replies = generate(engine, prompts, Sampling(20, stop=("Observation:",)))
    assert [reply.text for reply in replies[:2]] == ["Hello there", "one "]
    assert replies[2].finish is Finish.LENGTH
    assert len(replies[2].ids) == 20
    assert replies[3].text == ""
    assert engine.asked == [(1,), (2, 3), (4,), (5,)]


def test_scripted_replies_may_depend_on_the_prompt(tok):
    engine = ScriptedEngine(lambda prompt: prompt.upper(), tok)
    assert generate(engine, [tok.encode("weather")], Sampling())[0].text == "WEATHER"


TURN = {
    "type": "structural_tag",
    "format": {
        "type": "json_schema",
        "json_schema": {
            "type": "object",
            "properties": {"to": {"enum": ["left", "right"]}, "far": {"type": "boolean"}},
            "required": ["to", "far"],
            "additionalProperties": False,
        },
    },
}


def test_replies_are_held_to_their_grammars_and_others_are_free(engine, tok):
    sampling = Sampling(64, temperature=1.0, seed=3, stop=("<|im_end|>",))
    prompts = prompts_of(tok)[:3]
    free = generate(engine, prompts, sampling)
    mixed = generate(engine, prompts, sampling, [TURN, None, TURN])
    assert mixed[1] == free[1]
    for reply in (mixed[0], mixed[2]):
        assert reply.finish is Finish.STOP
        said = json.loads(reply.text)
        assert said["to"] in ("left", "right")
        assert said["far"] in (True, False)


def test_a_grammar_without_its_library_is_an_error_that_names_it(engine, tok, monkeypatch):
    monkeypatch.setitem(sys.modules, "xgrammar", None)
    with pytest.raises(ModelError, match="xgrammar") as caught:
        generate(engine, prompts_of(tok)[:1], Sampling(4), [TURN])
    assert "toolgrove[grammar]" in (caught.value.hint or "")


def test_a_stop_that_is_a_word_of_the_vocabulary_is_found_inside_others(engine, tok):
    prompt = tok.encode("What is the weather in Paris?")
    free = generate(engine, [prompt], Sampling(16))[0]
    texts = [tok.decode([token]) for token in free.ids]
    stop = next(text[1] for text in texts if len(text) > 1 and text[1] not in texts)
    reply = generate(engine, [prompt], Sampling(16, stop=(stop,)))[0]
    assert reply.text == free.text[: free.text.index(stop)]
