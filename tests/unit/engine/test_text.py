"""Growing text: whole characters, stops across token borders."""

from hypothesis import given
from hypothesis import strategies as st

from toolgrove.engine.text import ReplyText


def decode(ids):
    return bytes(ids).decode("utf-8", errors="replace")


def grown(data, stops):
    reply = ReplyText(decode, stops)
    parts = []
    for byte in data:
        parts.append(reply.push(byte))
        if reply.stopped:
            break
    return reply, [*parts, reply.finish()]


@given(st.text("ab<>/é🙂中 ", max_size=30), st.lists(st.text("ab<>é", min_size=1, max_size=4)))
def test_the_parts_are_the_text_up_to_the_first_stop(text, stops):
    reply, parts = grown(text.encode(), stops)
    ends = [text.find(stop) for stop in stops if stop in text]
    # the stop that is whole first ends the reply; it begins at the leftmost place known by then
    if not ends:
        assert "".join(parts) == text
        assert not reply.stopped
    else:
        assert reply.stopped
        assert text.startswith("".join(parts))
        assert not any(stop in "".join(parts) for stop in stops)


def test_a_stop_across_tokens_is_never_shown_in_part():
    reply, parts = grown(b"Go.\nObservation: x", ["Observation:"])
    assert reply.stopped
    assert "".join(parts) == "Go.\n"
    assert not any("Ob" in part for part in parts)


def test_what_only_looks_like_a_stop_is_shown_in_the_end():
    reply, parts = grown(b"Observe Obser", ["Observation:"])
    assert not reply.stopped
    assert "".join(parts) == "Observe Obser"


def test_characters_come_whole():
    _, parts = grown("é🙂".encode(), [])
    assert [part for part in parts if part] == ["é", "🙂"]


def test_broken_bytes_come_out_in_the_end():
    _, parts = grown(b"a\xf0\x9f", [])
    assert "".join(parts) == decode(b"a\xf0\x9f")
