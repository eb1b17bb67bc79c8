"""The page of a run, of two runs, and the terminal tables."""

import io
import json
from html.parser import HTMLParser

import pytest
from rich.console import Console

from toolgrove.cli.main import main
from toolgrove.eval.compare import compare, comparison_table
from toolgrove.eval.curve import Point, curve, smooth
from toolgrove.eval.journal import Journal
from toolgrove.eval.measures import score
from toolgrove.eval.report import Fact, Page, Run, comparison_page, page
from toolgrove.eval.runner import Report, table


class _Tags(HTMLParser):
    """Checks that tags close and that nothing is fetched."""

    void = ("meta", "br", "path", "line", "input")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        assert not {"src", "href"} & {name for name, _ in attrs}
        assert tag != "b" or attrs
        if tag not in self.void:
            self.open.append(tag)

    def handle_endtag(self, tag) -> None:
        if tag not in self.void:
            assert self.open.pop() == tag


def run(name: str, outcomes) -> Run:
    return Run(name, score(outcomes), outcomes)


def read(html: str) -> str:
    reader = _Tags()
    reader.feed(html)
    assert reader.open == []
    return html


def test_page_is_standalone_and_escapes(outcome_of) -> None:
    before = [outcome_of(str(n), False) for n in range(2)]
    after = [outcome_of(str(n), True) for n in range(2)]
    losses = [Point(step, 2.0 / step) for step in range(1, 30)]
    runs = [run("before", before), run("after <b>", after), run("free", before)]
    html = read(page(Page("Demo", [Fact("model", "<tiny>")], runs, losses, ("A note.",))))
    assert "&lt;tiny&gt;" in html
    assert "&lt;script&gt;" in html
    assert html.count("<script>") == 1
    assert "100.0 % [34.2, 100.0]" in html
    assert "+100.0" in html
    assert "training loss" in html
    assert html.count('data-change="gained"') == 2


def test_only_what_went_wrong_is_shown(outcome_of) -> None:
    outcomes = [outcome_of("fine", True), outcome_of("bad", False)]
    html = read(page(Page("One", [], [run("m", outcomes)])))
    assert "Question bad?" in html
    assert "Question fine?" not in html
    assert "no &lt;i&gt;way&lt;/i&gt;" in html
    assert 'id="change"' not in html
    assert read(page(Page("None", [], [run("m", outcomes[:1])])))


def test_a_long_message_is_cut_and_told(outcome_of) -> None:
    long = outcome_of("x", False, messages=[{"role": "user", "content": "a" * 9000}])
    html = read(page(Page("Long", [], [run("m", [long])])))
    assert "(3000 more characters)" in html
    assert len(html) < 40_000


def test_two_folders_are_compared(outcome_of, tmp_path, capsys) -> None:
    for name, right in (("base", 3), ("tuned", 9)):
        outcomes = [outcome_of(str(n), n < right) for n in range(10)]
        with Journal(tmp_path / name / "cases.jsonl", {"model": name}) as journal:
            journal.add(outcomes)
    words = ["eval", "--compare", str(tmp_path / "base"), str(tmp_path / "tuned")]
    assert main([*words, "--output_dir", str(tmp_path / "out"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["first"], found["second"], found["cases"]) == ("base", "tuned", 10)
    assert found["differences"][0]["p"] == pytest.approx(2 / 2**6)
    assert "+60.0" in read((tmp_path / "out" / "compare.html").read_text())
    assert main([*words[:-1], "--output_dir", str(tmp_path / "out")]) == 2
    assert "two folders" in capsys.readouterr().err
    assert main([*words[:-1], str(tmp_path / "none")]) == 2
    assert "no such file" in capsys.readouterr().err


def test_curve_of_one_point_and_of_zero_loss() -> None:
    assert "<svg" in curve([Point(1, 0.0)])
    assert smooth([Point(1, 1.0), Point(2, 3.0)], 1) == [Point(1, 2.0), Point(2, 2.0)]


def test_tables_and_json(outcome_of) -> None:
    outcomes = [outcome_of("a", True), outcome_of("b", False)]
    report = Report("tiny", "chatml + hermes (0)", score(outcomes), outcomes, 1.0, 2.0)
    compared = compare(("A", "B"), outcomes, outcomes)
    out = io.StringIO()
    Console(width=140, file=out).print(table(report))
    Console(width=140, file=out).print(comparison_table(compared))
    assert "simple_python" in out.getvalue()
    assert "format 100.0" in out.getvalue()
    assert json.loads(json.dumps(report.as_json()))["scores"][0]["cases"] == 2
    assert read(comparison_page(compared, [score(outcomes)] * 2))
