"""The page and the terminal table."""

import io
import json
from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from rich.console import Console

from toolgrove.eval.cases import Case
from toolgrove.eval.curve import Point, curve, smooth
from toolgrove.eval.metrics import score
from toolgrove.eval.report import Fact, Page, page, side_by_side
from toolgrove.eval.runner import Report, table


class _Tags(HTMLParser):
    """Collects scripts and links, and checks that tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag, attrs) -> None:
        self.seen.add(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag not in ("meta", "br", "path", "line"):
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in ("path", "line"):
            assert self.open.pop() == tag


@pytest.fixture
def report(result_of) -> Callable[[list[Case], bool], Report]:
    """Makes a report in which every case is right, or every case wrong."""

    def make(cases: list[Case], right: bool) -> Report:
        results = [result_of(case, right) for case in cases]
        return Report("tiny", "chatml + hermes (0)", score(results), results, 1.0, 2.0)

    return make


def test_page_is_standalone_and_escapes(cases, report) -> None:
    losses = [Point(step, 2.0 / step) for step in range(1, 30)]
    facts = [Fact("model", "<tiny>")]
    before, after, free = (report(cases, right) for right in (False, True, False))
    html = page(Page("Demo", facts, before, after, free, losses))
    reader = _Tags()
    reader.feed(html)
    assert reader.open == []
    assert "script" not in reader.seen
    assert "&lt;tiny&gt;" in html
    assert "&lt;script&gt;" in html
    assert "100.0 % [34.2, 100.0]" in html
    assert "+100.0" in html
    assert "after, not held" in html
    assert "after, not held" not in page(Page("Demo", facts, before, after, None, losses))
    assert html.count("100.0 % [34.2, 100.0]") * 2 == html.count("0.0 % [0.0, 65.8]")


def test_conversations_are_drawn_blindly(cases, report) -> None:
    before, after = report(cases * 20, False), report(cases * 20, True)
    drawn = [pair[0].case for pair in side_by_side(before, after)]
    assert drawn == [pair[1].case for pair in side_by_side(after, before)]
    assert len(drawn) == 10


def test_curve_of_one_point_and_of_zero_loss() -> None:
    assert "<svg" in curve([Point(1, 0.0)])
    assert smooth([Point(1, 1.0), Point(2, 3.0)], 1) == [Point(1, 2.0), Point(2, 2.0)]


def test_table_and_json(cases, report) -> None:
    out = io.StringIO()
    Console(width=140, file=out).print(table(report(cases, True)))
    assert "simple_python" in out.getvalue()
    assert json.loads(json.dumps(report(cases, True).as_json()))["scores"][0]["cases"] == 2
