"""What users of ms-swift expect: text and trained text, where its output is right.

Two things differ by law (docs/adr/0010-where-masks-differ.md), and are taken out of both sides.
``ignore_think_prefix`` on an empty thinking block: one token holds the last character of the prefix
and the first of the rest, and weights never change the tokens (law 8). The stops of Hy and Xing:
ms-swift learns Hy's in the last turn only, and a newline after Xing's; here every turn learns its
stop and nothing behind it (law 4).
"""

import functools
import re
from itertools import groupby
from pathlib import Path

import pytest
from scripts.exactness import lines

import toolgrove as tg
from toolgrove.encoding.loss import parse_loss_scale

HERE = Path(__file__).parent / "ms-swift"
SHARED = Path(__file__).parents[3] / "shared"
OPTIONS = ("add_non_thinking_prefix", "enable_thinking", "preserve_thinking", "default_system")
STOPS_DIFFER = ("hy_v3_preview", "xing4_0")
GOLDENS = SHARED / "goldens" / "ms-swift" / "goldens" / "encode"
WHOLE_SET = sorted(file.name.partition(".")[0] for file in GOLDENS.glob("*.jsonl.gz"))


def without_last_newline(spans):
    """ms-swift trains the newline after the stop token; a model must emit nothing there."""
    return [[re.sub(r"(<\|im_end\|>)\n", r"\1", text), weight] for text, weight in spans]


def without_cut(spans):
    """ms-swift cuts the token of an empty thinking block in two and learns its second half."""
    return [[re.sub(r"^\n</think>", "</think>", text), weight] for text, weight in spans]


def merged(pieces):
    """(text, weight) pieces with neighbours of one weight joined, and the untrained left out."""
    runs = [
        ["".join(text for text, _ in group), weight]
        for weight, group in groupby(pieces, key=lambda piece: piece[1])
    ]
    return [run for run in runs if run[1]]


def options(settings):
    given = {key: settings[key] for key in OPTIONS if settings.get(key) is not None}
    return {k: v for k, v in given.items() if k != "add_non_thinking_prefix" or v is False}


SCENARIOS = {s["scenario"]: s["row"] for s in lines(HERE / "scenarios.jsonl")}
RECORDS = lines(HERE / "encode.jsonl")


@pytest.mark.parametrize("record", RECORDS, ids=[record["id"] for record in RECORDS])
def test_text_and_trained_text(record):
    d = tg.dialect(record["chat"], agent=record["agent"], options=options(record["settings"]))
    conv = tg.conversation(SCENARIOS[record["scenario"]])
    spans = d.spans(conv, keep=True)
    assert "".join(span.text for span in spans) == record["text"]
    for loss_scale, golden in record["trained"].items():
        weighted = parse_loss_scale(loss_scale).weigh(spans, conv)
        trained = merged([(item.span.text, item.weight) for item in weighted])
        if loss_scale == "all":  # the first token is never trained
            first = golden[0][0]
            trained[0][0] = trained[0][0][len(trained[0][0]) - len(first) :]
        assert without_last_newline(trained) == without_last_newline(golden)


def without_stops(spans, stops):
    """The trained text without stops, and the newline after one, where it ends."""
    ends = re.compile(f"(?:{'|'.join(map(re.escape, stops))})?\n*$")
    return [[ends.sub("", text), weight] for text, weight in spans]


@pytest.mark.skipif(not WHOLE_SET, reason="the whole set is not beside this checkout")
@pytest.mark.parametrize("chat", WHOLE_SET or ["none"])
def test_every_entry_of_the_whole_set_is_equal(chat):
    rows = {s["scenario_id"]: s["row"] for s in lines(GOLDENS.parents[1] / "scenarios.jsonl")}
    records = [
        record
        for record in lines(GOLDENS / f"{chat}.jsonl.gz")
        if record["kind"] == "train" and "error" not in record and not record.get("doubt")
    ]
    if not records:
        pytest.skip(f"every entry of {chat} has a doubt")
    wrong = []
    for record in records:
        d = tg.dialect(chat, record["agent_template"], options=options(record["settings"]))
        conv = tg.conversation(rows[record["scenario_id"]])
        for loss_scale, golden in record["loss"].items():
            if golden.get("doubt"):
                continue
            if not is_equal(d, conv, loss_scale, record, golden):
                wrong.append((record["id"], loss_scale))
    assert wrong == []


@functools.cache
def tokenizer_of(name):
    return tg.load_tokenizer(SHARED / "tokenizers" / {"gptoss": "gpt_oss"}.get(name, name))


def is_equal(d, conv, loss_scale, record, golden):
    tokenizer = tokenizer_of(record["tokenizer"])
    (sequence,) = tg.encode(conv, d, tokenizer, loss_scale=loss_scale, history="keep")
    runs = groupby(range(len(sequence.ids)), key=lambda i: sequence.weights[i])
    trained = [
        [tokenizer.decode([sequence.ids[i] for i in group]), weight]
        for weight, group in runs
        if weight
    ]
    mine, theirs = without_last_newline(trained), without_last_newline(golden["trained_spans"])
    if record["agent_template"] in STOPS_DIFFER:
        mine, theirs = without_stops(mine, d.stops), without_stops(theirs, d.stops)
    if loss_scale == "ignore_think_prefix":
        theirs = without_cut(theirs)
    text = golden.get("rendered_text", record["rendered_text"])
    return tokenizer.decode(sequence.ids) == text and mine == theirs
