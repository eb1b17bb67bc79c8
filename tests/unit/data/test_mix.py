"""Mixing: exact ratios, known names, self-cognition, and splits that keep together what belongs."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgrove.core.errors import ConfigError, DataError
from toolgrove.data.formats import conversation
from toolgrove.data.groups import held_out
from toolgrove.data.known import known, known_names
from toolgrove.data.load import load_chats, split
from toolgrove.data.mix import Stopping, interleave, merge
from toolgrove.data.self_cognition import self_cognition
from toolgrove.data.sources import Place, parse_source, source_files
from toolgrove.data.stream import Mixture, stream_rows


def write(file, name, count):
    lines = [{"query": f"{name} {n}", "response": "yes"} for n in range(count)]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return str(file)


def names(mixture):
    return [row.value["query"].split()[0] for row in stream_rows(mixture)]


@given(
    st.lists(st.integers(1, 60), min_size=1, max_size=4),
    st.lists(st.integers(1, 9), min_size=4, max_size=4),
)
def test_every_prefix_has_its_share(sizes, weights):
    weights = weights[: len(sizes)]
    streams = [lambda n=n, size=size: iter([n] * size) for n, size in enumerate(sizes)]
    taken = list(interleave(streams, weights, Stopping.FIRST_EXHAUSTED))
    for count in range(1, len(taken) + 1):
        found = Counter(taken[:count])
        for number, weight in enumerate(weights):
            assert abs(found[number] - count * weight / sum(weights)) < 1 + 1e-9


def test_all_exhausted_begins_short_sources_anew():
    streams = [lambda: iter("aaaa"), lambda: iter("xy")]
    taken = "".join(interleave(streams, (1, 1), Stopping.ALL_EXHAUSTED))
    assert taken.startswith("axayaxay")
    assert taken.count("a") == 4
    assert (
        list(interleave([lambda: iter(()), lambda: iter("x")], (1, 1), Stopping.ALL_EXHAUSTED))
        == []
    )


def test_merging_spreads_evenly():
    assert "".join(merge([iter("aa"), iter("gggg")], [2, 4])) == "gagga" + "g"


def test_agent_to_general_is_one_to_two(tmp_path):
    agent = write(tmp_path / "a.jsonl", "agent", 30)
    general = write(tmp_path / "g.jsonl", "general", 500)
    mixture = Mixture((agent,), general=(general,), general_ratio=2.0)
    found = names(mixture)
    assert Counter(found) == {"agent": 30, "general": 60}
    assert all(Counter(found[: 3 * n])["agent"] == n for n in range(1, 31))
    assert found == names(mixture)
    few = write(tmp_path / "few.jsonl", "general", 7)
    again = Mixture((agent,), general=(few,), general_ratio=1.0)
    counts = Counter(row.value["query"] for row in stream_rows(again))
    assert sorted(n for q, n in counts.items() if q.startswith("general")) == [4, 4, 4, 4, 4, 5, 5]


def test_interleaved_sources_are_sampled_first(tmp_path):
    one, two = write(tmp_path / "a.jsonl", "a", 40), write(tmp_path / "b.jsonl", "b", 40)
    found = names(Mixture((f"{one}#8", f"{two}#8"), weights=(3, 1)))
    assert Counter(found) == {"a": 8, "b": 3}
    with pytest.raises(ConfigError, match="2 weights for 1"):
        list(stream_rows(Mixture((one,), weights=(1, 2))))
    with pytest.raises(ConfigError, match="both the general data and its ratio"):
        Mixture((one,), general=(two,))


def test_a_sample_is_the_same_rows_in_their_order(tmp_path):
    file = write(tmp_path / "a.jsonl", "a", 100)
    numbers = [int(row.value["query"].split()[1]) for row in stream_rows(Mixture((f"{file}#10",)))]
    assert numbers == sorted(numbers)
    assert len(set(numbers)) == 10
    other = [row.where for row in stream_rows(Mixture((f"{file}#10",), seed=1))]
    assert other != [row.where for row in stream_rows(Mixture((f"{file}#10",)))]


def test_patterns_and_the_folder_they_stand_for(tmp_path):
    for name in ("b", "a", "c"):
        write(tmp_path / f"{name}.jsonl", name, 1)
    assert names(Mixture((str(tmp_path / "[ab].jsonl"),))) == ["a", "b"]
    assert names(Mixture((str(tmp_path),))) == ["a", "b", "c"]
    with pytest.raises(DataError, match="no file matches"):
        source_files(parse_source(str(tmp_path / "*.csv")))


def test_self_cognition_has_a_hundred_questions_of_its_own():
    rows = list(self_cognition(["小林", "Grove"], ["林场", "the foresters"]))
    asked = [row["messages"][0]["content"] for row in rows]
    assert len(set(asked)) == len(asked) >= 100
    for row in rows:
        text = conversation(row).messages[1].text
        name, author = ("小林", "林场") if row["language"] == "zh" else ("Grove", "the foresters")
        assert name in text
        assert author in text
        assert not {"NAME", "AUTHOR"} & set(text.split())
    one = list(stream_rows(Mixture(("self-cognition#20",), names=("Grove",), authors=("us",))))
    assert len(one) == 20
    assert one[0].where.startswith("self-cognition:")
    with pytest.raises(ConfigError, match="--model_name"):
        list(stream_rows(Mixture(("self-cognition",))))


@pytest.mark.parametrize("name", known_names())
def test_known_names_lead_to_a_hub(name):
    source = parse_source(f"{name}#50")
    assert source.count == 50
    assert source.place in (Place.HUGGING_FACE, Place.MODEL_SCOPE)
    assert parse_source(name.upper().replace("_", "-")).name == source.name


def test_a_local_file_comes_before_a_known_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "ToolBench", "x", 1)
    assert parse_source("ToolBench").place is Place.LOCAL
    with pytest.raises(DataError, match="no such file") as caught:
        parse_source("ms_agnet")
    assert 'did you mean "ms_agent"' in (caught.value.hint or "")


def test_rows_of_known_sets_are_mended():
    printed = "[{'from': 'human', 'value': 'Look.'}\n {'from': 'gpt', 'value': 'Act: look'}]"
    mend = known("AgentInstruct").mend
    assert mend
    assert len(conversation(mend({"conversations": printed})).messages) == 2
    room = [
        {"from": "system", "value": "You are Bo."},
        {"from": "Al", "value": "Hi!"},
        {"from": "Bo", "value": "Hello, Al."},
    ]
    mend = known("MSAgent-MultiRole").mend
    assert mend
    talk = conversation(mend({"conversations": room}))
    assert [m.text for m in talk.messages][1:] == ["Al: Hi!\n\nBo:", "Hello, Al."]
    with pytest.raises(DataError):
        mend({"conversations": []})


def test_what_belongs_together_is_on_one_side(tmp_path):
    rows = []
    for number in range(40):
        rows.append({"query": f"Question {number % 20}?", "response": str(number)})
        rows.append({"query": f"other {number}", "response": "x", "conversation_id": number % 8})
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    chats = load_chats([str(file)]).chats
    learn, check = split(chats, 0.25, seed=5)
    assert len(learn) + len(check) == 80
    assert 10 <= len(check) <= 20

    def keys(side):
        asked = {chat.conversation.messages[0].text for chat in side}
        return asked, {chat.conversation.extra.get("conversation_id") for chat in side} - {None}

    for one, other in zip(keys(learn), keys(check), strict=True):
        assert not one & other
    assert split(chats, 0.25, seed=5) == (learn, check)
    assert split(chats, 0.25, seed=6) != (learn, check)


@given(st.lists(st.lists(st.integers(0, 12), min_size=1, max_size=3), min_size=1, max_size=30))
def test_no_key_is_on_both_sides(keys):
    try:
        out = held_out(keys, 0.3, seed=1)
    except DataError:
        return
    assert out
    assert len(out) < len(keys)
    inside = {key for row in out for key in keys[row]}
    assert not inside & {key for row in range(len(keys)) if row not in out for key in keys[row]}
