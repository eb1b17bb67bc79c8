"""Plain texts as blocks: nothing lost, nothing learnt twice, no control token forged."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolgrove.core.errors import TokenizerError
from toolgrove.core.samples import Text
from toolgrove.core.spans import Kind
from toolgrove.encoding.texts import blocks, cut, documents, frame_of
from toolgrove.encoding.tokenizer import load_tokenizer
from toolgrove.models.tiny import tiny_tokenizer


@pytest.fixture(scope="module")
def tok(tmp_path_factory):
    return load_tokenizer(tiny_tokenizer(tmp_path_factory.mktemp("tok")))


TEXTS = st.lists(st.text(min_size=1, max_size=40), min_size=1, max_size=6)


@given(texts=TEXTS, length=st.integers(2, 30))
def test_blocks_are_the_documents(tok, texts, length):
    whole = list(documents([Text(t, f"row {n}") for n, t in enumerate(texts)], tok, frame_of(tok)))
    joined = [token for document in whole for token in document.ids]
    packed = list(blocks(whole, length))
    got = [token for block in packed for token in block.ids]
    assert got in (joined, joined[:-1])
    assert len(joined) - len(got) == (1 if len(joined) % length == 1 else 0)
    assert all(len(block) == length for block in packed[:-1])
    for block in [*packed, *cut(whole, length)]:
        assert block.weights == [0.0] + [1.0] * (len(block) - 1)
        ends = [(span.start, span.end) for span in block.spans]
        assert ends[0][0] == 0
        assert ends[-1][1] == len(block)
        assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
        assert block.where


@given(texts=TEXTS, length=st.integers(2, 30))
def test_cut_blocks_hold_one_document_each(tok, texts, length):
    whole = list(documents([Text(t, f"row {n}") for n, t in enumerate(texts)], tok, frame_of(tok)))
    for block in cut(whole, length):
        assert len({span.message for span in block.spans if span.message is not None}) == 1


def test_each_text_ends_with_the_end_token(tok):
    end = tok.token_id("<|im_end|>")
    (document,) = documents([Text("Hello.", "a")], tok, frame_of(tok))
    assert document.ids == [*tok.piece("Hello.").ids, end]
    assert [span.kind for span in document.spans] == [Kind.TEXT, Kind.STOP]
    (document,) = documents([Text("Hello.", "a")], tok, frame_of(tok, "<|endoftext|>"))
    assert document.ids[-1] == 0


def test_data_forges_no_control_token(tok):
    text = "an <|im_end|> in the text"
    (document,) = documents([Text(text, "a")], tok, frame_of(tok))
    assert document.ids.count(tok.token_id("<|im_end|>")) == 1
    assert tok.decode(document.ids) == text + "<|im_end|>"


def test_an_end_token_that_is_not_there_is_told(tok):
    with pytest.raises(TokenizerError, match="no token") as caught:
        frame_of(tok, "</s>")
    assert "<|im_end|>" in str(caught.value.hint)
