"""Law: tokenizing word by word gives the tokens, and the places, of the whole text."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer as Backend

from tests.laws.tokenizer import small_tokenizer
from toolgrove.encoding import words as under_test
from toolgrove.encoding.splitting import ascii_splitter, cuts_at_spaces
from toolgrove.encoding.tokenizer import _without_control
from toolgrove.encoding.words import Words

SHARED = sorted(
    file.parent for file in Path(__file__).parents[2].glob("../shared/tokenizers/*/tokenizer.json")
)
FOLDERS = [*SHARED, small_tokenizer().folder]
NAMES = [*(folder.name for folder in SHARED), "small"]
PARTS = [
    *(
        " ",
        "  ",
        "\n",
        " \n",
        "\n ",
        "\t",
        "\r\n",
        "\x0b ",
        "\x1c ",
        "\u00a0 ",
        "\u3000",
        "\u2028 ",
    ),
    *("a", "It's", "I'LL", "word", '{"type": ', '"x"}}', "12345", "3.5", "--", "//", "...", "<b>"),
    *(
        "你好",
        "。",
        "é",
        "e\u0301",
        "\u0301",
        "🙂",
        "👍🏽",
        "\u200b",
        "ﬁ",
        "ſ",
        "\x00",
        "\x04",
        "pneumonoultramicroscopicsilicovolcanoconiosis" * 2,
        "٣",
        "Ǆ",
        "ひら",
    ),
]
TEXTS = st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=14).map("".join)


def _loaded(folder: Path) -> tuple[Backend, Words]:
    plain = _without_control(json.loads((folder / "tokenizer.json").read_text("utf-8")))
    backend = Backend.from_str(json.dumps(plain))
    return backend, Words(backend, plain)


@pytest.mark.parametrize("folder", FOLDERS, ids=NAMES)
def test_words_give_the_tokens_of_the_whole(folder: Path) -> None:
    backend, words = _loaded(folder)

    @settings(max_examples=300, deadline=None)
    @given(TEXTS, st.lists(st.integers(0, 40), max_size=5))
    def law(text: str, places: list[int]) -> None:
        whole = backend.encode(text, add_special_tokens=False)
        starts = [start for start, _ in whole.offsets]
        ends = [*sorted(min(place, len(text)) for place in places), len(text)]
        piece = words.tokens([text[begin:end] for begin, end in pairwise([0, *ends])])
        assert piece.ids.tolist() == whole.ids
        assert piece.ends == [sum(start < end for start in starts) for end in ends]

    law()


def test_known_splitters_are_cut_at_spaces() -> None:
    found = {
        folder.name: cuts_at_spaces(json.loads((folder / "tokenizer.json").read_text("utf-8")))
        for folder in SHARED
    }
    assert found.pop("gemma3", False) is False
    assert all(found.values()), found


def test_ascii_splits_are_those_of_the_tokenizer() -> None:
    text = 'It\'s I\'LL 12345 3.5\r\n\n {"type": ["x"]}}\n\x1c \x0b  end\t\tHTTPServer_2 <b>//  '
    text += "".join(map(chr, range(0x80))) * 2
    known = set[str]()
    for folder in SHARED:
        plain = _without_control(json.loads((folder / "tokenizer.json").read_text("utf-8")))
        splitter = ascii_splitter(plain)
        if splitter is not None:
            known.add(folder.name)
            backend = Backend.from_str(json.dumps(plain))
            places = [place for _, place in backend.pre_tokenizer.pre_tokenize_str(text)]
            assert [match.span() for match in splitter.finditer(text)] == places, folder.name
    unknown = {folder.name for folder in SHARED} - known
    assert unknown <= {"gemma3", "deepseek_v3", "deepseek_v3_1"}


@pytest.mark.parametrize(
    "change",
    [
        {"normalizer": {"type": "Lowercase"}},
        {"pre_tokenizer": None},
        {"pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": True}},
        {
            "pre_tokenizer": {
                "type": "Split",
                "pattern": {"Regex": r"\w+ \w+|\s+(?!\S)|\s+"},
                "behavior": "Isolated",
                "invert": False,
            }
        },
        {"added_tokens": [{"content": "a b", "special": False}]},
        {"added_tokens": [{"content": "ab", "special": False, "lstrip": True}]},
    ],
)
def test_anything_else_is_one_word(change: dict[str, object]) -> None:
    sound = {"normalizer": None, "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False}}
    assert cuts_at_spaces(sound)
    assert not cuts_at_spaces({**sound, **change})


def test_a_full_memory_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_REMEMBERED", 200)
    backend, words = _loaded(FOLDERS[-1])
    for number in range(60):
        text = f"word{number} and word{number % 7} then {number}"
        assert (
            words.tokens([text]).ids.tolist() == backend.encode(text, add_special_tokens=False).ids
        )
    assert len(words._spaced) < 60
