"""Serving from a model in memory: whoever joins or leaves, every reply is what it is alone."""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.engine import live_local
from toolgrove.engine.base import Finish, Sampling, generate
from toolgrove.engine.kept import KeptPrompts
from toolgrove.engine.live import Job
from toolgrove.engine.live_local import LocalLive
from toolgrove.engine.live_script import ScriptedLive, read_script
from toolgrove.engine.local import LocalEngine
from toolgrove.models.adapters import Lora, add_adapter
from toolgrove.models.choose import Draw, choose
from toolgrove.models.load import load_model

SHARED = "You may call one or more functions to assist the user. " * 3
TEXTS = ["user", "What is the weather in Paris?", SHARED, f"{SHARED}a", f"{SHARED}b", "tool\n" * 9]


@pytest.fixture(scope="module")
def engine(llama):
    return LocalEngine.load(llama, dtype="float32")


@pytest.fixture(scope="module")
def prompts(engine):
    return [tuple(engine.tok.encode(text)) for text in TEXTS]


@pytest.fixture(scope="module")
def alone(engine, prompts):
    return [generate(engine, [prompt], Sampling(12))[0] for prompt in prompts]


def run(live, jobs, arrivals=None):
    """The pieces of each job; ``arrivals`` says before which step each is added."""
    arrivals = arrivals or [0] * len(jobs)
    pieces = {number: [] for number in range(len(jobs))}
    step = 0
    going = set()
    while going or step <= max(arrivals):
        for number, when in enumerate(arrivals):
            if when == step:
                live.add(number, live.prepare(jobs[number]))
                going.add(number)
        for piece in live.step():
            pieces[piece.number].append(piece)
            if piece.finish is not None:
                going.discard(piece.number)
        step += 1
    return [pieces[number] for number in range(len(jobs))]


def ids_of(pieces):
    return tuple(token for piece in pieces for token in piece.ids)


@given(
    order=st.lists(st.integers(0, 25), min_size=len(TEXTS), max_size=len(TEXTS)),
    part=st.integers(1, 40),
    room=st.sampled_from([0, 1 << 16, 1 << 29]),
)
def test_replies_do_not_depend_on_who_else_is_there(engine, prompts, alone, order, part, room):
    before, live_local.PART_TOKENS = live_local.PART_TOKENS, part
    try:
        live = LocalLive(engine, prefix_bytes=room)
        got = run(live, [Job(prompt, Sampling(12)) for prompt in prompts], order)
    finally:
        live_local.PART_TOKENS = before
    for pieces, reply in zip(got, alone, strict=True):
        assert ids_of(pieces) == reply.ids
        assert "".join(piece.text for piece in pieces) == reply.text
        assert [p.finish for p in pieces] == [None] * (len(pieces) - 1) + [reply.finish]


def test_a_prompt_that_begins_alike_is_not_run_again(engine, prompts):
    live = LocalLive(engine)
    first, second = run(live, [Job(prompts[3], Sampling(2)), Job(prompts[4], Sampling(2))], [0, 5])
    assert first[0].cached == 0
    shared = len(prompts[2])
    assert shared - 2 <= second[0].cached < len(prompts[4])


def test_the_cache_of_prompts_keeps_to_its_limit(engine, prompts):
    live = LocalLive(engine, prefix_bytes=1 << 17)
    run(live, [Job(prompt, Sampling(2)) for prompt in prompts])
    assert 0 < live._prefixes.bytes <= 1 << 17


def test_who_is_dropped_leaves_no_trace(engine, prompts, alone):
    live = LocalLive(engine)
    for number in (0, 1):
        live.add(number, live.prepare(Job(prompts[number], Sampling(12))))
    live.step()
    live.drop(0)
    live.drop(0)
    live.add(2, live.prepare(Job(prompts[5], Sampling(12))))
    live.drop(2)
    pieces = []
    while not pieces or pieces[-1].finish is None:
        pieces += live.step()
    assert {piece.number for piece in pieces} == {1}
    assert alone[1].ids[1:] == ids_of(pieces)
    assert live.step() == []
    assert not live._lines


def test_seeds_and_settings_are_each_rows_own(engine, prompts):
    hot = Job(prompts[1], Sampling(8, temperature=1.5, seed=3))
    cold = Job(prompts[1], Sampling(8))
    other = Job(prompts[1], Sampling(8, temperature=1.5, seed=4))
    narrow = Job(prompts[1], Sampling(8, temperature=1.5, top_k=1))
    together = [ids_of(pieces) for pieces in run(LocalLive(engine), [hot, cold, other, narrow])]
    assert together[0] == ids_of(run(LocalLive(engine), [hot])[0])
    assert together[0] != together[2]
    assert together[1] == together[3]


def test_biases_and_penalties(engine, prompts):
    free = ids_of(run(LocalLive(engine), [Job(prompts[1], Sampling(8))])[0])
    never = Job(prompts[1], Sampling(8), bias={free[0]: -100.0})
    assert ids_of(run(LocalLive(engine), [never])[0])[0] != free[0]
    twice = Job(prompts[1], Sampling(40), presence=2.0, frequency=2.0, repetition=3.0)
    plain = ids_of(run(LocalLive(engine), [Job(prompts[1], Sampling(40))])[0])
    varied = ids_of(run(LocalLive(engine), [twice])[0])
    assert len(set(varied)) / len(varied) >= len(set(plain)) / len(plain)
    assert varied != plain


def test_a_bias_is_the_same_whether_or_not_the_likeliest_token_has_it():
    logits = torch.tensor([[0.0, 3.0, 2.0, 2.5]] * 5)
    biases = [{}, {0: -9.0}, {1: -1.0}, {2: 1.5}, {0: -9.0, 3: 1.0}]
    found = choose(logits, [Draw(bias=bias) for bias in biases])
    assert [one.token for one in found] == [1, 1, 3, 2, 3]


def test_log_probabilities_are_of_the_chosen_and_the_likeliest(engine, prompts):
    pieces = run(LocalLive(engine), [Job(prompts[1], Sampling(6), top=3)])[0]
    for piece in pieces:
        for score in piece.scores:
            assert score.token == piece.ids[0]
            assert score.top[0] == (score.token, pytest.approx(score.logprob))
            assert len(score.top) == 3
            assert score.logprob < 0


TURN = {
    "type": "structural_tag",
    "format": {
        "type": "json_schema",
        "json_schema": {
            "type": "object",
            "properties": {"to": {"enum": ["left", "right"]}},
            "required": ["to"],
            "additionalProperties": False,
        },
    },
}


def test_some_are_held_to_grammars_and_others_are_free(engine, prompts, alone):
    pytest.importorskip("xgrammar", reason="the extra grammar is not installed")
    held = Job(prompts[0], Sampling(40, temperature=1.0, seed=1, stop=("<|im_end|>",)), TURN)
    free = Job(prompts[1], Sampling(12))
    one, two = run(LocalLive(engine), [held, free])
    said = json.loads("".join(piece.text for piece in one))
    assert said["to"] in ("left", "right")
    assert one[-1].finish is Finish.STOP
    assert ids_of(two) == alone[1].ids


def test_adapters_answer_beside_the_bare_model(llama, prompts, tmp_path):
    import torch

    model = add_adapter(load_model(llama, torch.float32), Lora(rank=4))
    torch.manual_seed(5)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.2)
    model.save_pretrained(str(tmp_path))
    bare = LocalEngine.load(llama, dtype="float32")
    expected = generate(bare, [prompts[3]], Sampling(8))[0].ids
    bare.load_adapter("weather", tmp_path)
    bare.use("weather")
    tuned = generate(bare, [prompts[3]], Sampling(8))[0].ids
    assert tuned != expected
    live = LocalLive(bare)
    jobs = [Job(prompts[3], Sampling(8)), Job(prompts[3], Sampling(8), adapter="weather")]
    one, two = run(live, [*jobs, *jobs], [0, 0, 3, 3])[:2]
    assert ids_of(one) == expected
    assert ids_of(two) == tuned
    live.add(9, live.prepare(jobs[0]))
    with pytest.raises(ModelError, match="while no reply"):
        live.unload_adapter("weather")
    live.drop(9)
    live.unload_adapter("weather")
    assert ids_of(run(live, jobs[:1])[0]) == expected


def test_prompts_that_leave_no_room_are_refused(engine):
    live = LocalLive(engine)
    with pytest.raises(ModelError, match="empty"):
        live.prepare(Job((), Sampling()))
    with pytest.raises(ModelError, match="no room"):
        live.prepare(Job((5,) * live.context, Sampling()))


def test_a_script_is_played_in_order_in_small_pieces(llama, tmp_path):
    tok = load_tokenizer(llama)
    live = ScriptedLive(["Grüezi 🙂 you", "two"], tok)
    got = run(live, [Job((1,), Sampling()), Job((1,), Sampling())])
    assert ["".join(piece.text for piece in pieces) for pieces in got] == ["Grüezi 🙂 you", "two"]
    assert len(got[0]) > 2
    assert len({len(piece.ids) for piece in got[0]}) > 1
    with pytest.raises(ModelError, match="no more replies"):
        live.add(5, Job((1,), Sampling()))


@pytest.mark.parametrize("text", ["", "{}", "[]", "[1]", '["a"'])
def test_bad_scripts_are_told(tmp_path, text):
    file = tmp_path / "script.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"script|JSON"):
        read_script(file)


def test_one_conversation_after_the_other_over_kept_prompts(engine, prompts, alone):
    live = LocalLive(engine)
    kept = KeptPrompts(live)
    assert generate(kept, prompts[:2], Sampling(12)) == alone[:2]
    stream = kept.stream([prompts[2]], Sampling(12))
    next(stream)
    stream.close()
    assert live.step() == []
    assert generate(kept, [prompts[2]], Sampling(12)) == alone[2:3]
