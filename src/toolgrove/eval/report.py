"""An evaluation, or several over the same cases, as one standalone page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape
from typing import NamedTuple

from toolgrove.eval.compare import Comparison, compare, p_in_words
from toolgrove.eval.curve import Point, curve
from toolgrove.eval.measures import TOTAL, Measure, Score, in_words
from toolgrove.eval.outcome import RIGHT, Outcome
from toolgrove.eval.page_parts import CSS, SCRIPT, Shown, case_block, share
from toolgrove.eval.plot import Line, intervals


class Fact(NamedTuple):
    """A line of the run's description."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Run:
    """One run on the page: its name there, its scores and its cases."""

    name: str
    scores: Sequence[Score]
    outcomes: Sequence[Outcome]

    def score(self, suite: str, category: str) -> Score | None:
        """The score of a category, if it was measured."""
        found = (s for s in self.scores if (s.suite, s.category) == (suite, category))
        return next(found, None)


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows. Of several runs the first two are compared, the first being the base.

    ``sample``: so many cases, drawn blindly, are shown beside those that went wrong.
    """

    title: str
    facts: Sequence[Fact]
    runs: Sequence[Run]
    losses: Sequence[Point] = ()
    notes: Sequence[str] = field(default_factory=tuple)


def page(shown: Page) -> str:
    """The whole page; it needs no other file."""
    facts = "".join(f"<dt>{escape(f.label)}</dt><dd>{escape(f.value)}</dd>" for f in shown.facts)
    loss = f"<h2>Training loss</h2>{curve(shown.losses)}" if shown.losses else ""
    notes = "".join(f'<p class="note">{escape(note)}</p>' for note in shown.notes)
    cases = _cases(shown.runs)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(shown.title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{CSS}</style></head>
<body><h1>{escape(shown.title)}</h1>
<dl>{facts}</dl>
<h2>What went right</h2>
{_plot(shown.runs)}
{_table(shown.runs)}
{notes}
{_marks(shown.runs)}
{loss}
<h2>Cases that went wrong</h2>
<form id="filter"><label>category <select id="category"><option value="">all</option>
{_options(cases)}</select></label>
<label>why <select id="kind"><option value="">all</option>{_kinds(cases)}</select></label>
{_changes(shown.runs)}
<label>text <input id="search" type="search"></label> <span id="told"></span></form>
<div id="cases">{"".join(case_block(case) for case in cases)}</div>
<script>{SCRIPT}</script>
</body></html>
"""


def comparison_page(comparison: Comparison, scores: Sequence[Sequence[Score]]) -> str:
    """Two runs side by side."""
    first, second = ([pair[at] for pair in comparison.pairs] for at in (0, 1))
    one, two = comparison.names
    facts = [Fact("A", one), Fact("B", two), Fact("cases in both", str(len(first)))]
    runs = [Run("A", scores[0], first), Run("B", scores[1], second)]
    return page(Page("Two models on the same cases", facts, runs))


def _lines(runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Suites and categories in the order of the first run."""
    return list(dict.fromkeys((s.suite, s.category) for run in runs for s in run.scores))


def _right(run: Run, suite: str, category: str) -> Measure | None:
    found = run.score(suite, category)
    return found[RIGHT] if found else None


def _plot(runs: Sequence[Run]) -> str:
    lines = [
        Line(f"{suite} {category}", [_right(run, suite, category) for run in runs])
        for suite, category in _lines(runs)
    ]
    return intervals(lines, [run.name for run in runs])


def _table(runs: Sequence[Run]) -> str:
    """What went right as a whole, run by run; of two runs the difference with its chance."""
    told: dict[tuple[str, str], str] = {}
    if len(runs) > 1:
        compared = compare((runs[0].name, runs[1].name), runs[0].outcomes, runs[1].outcomes)
        for d in (d for d in compared.differences if d.mark == RIGHT):
            gain, (low, high) = 100 * (d.second - d.first), d.interval
            told[d.suite, d.category] = (
                f'<td class="gain">{gain:+.1f}</td><td>{100 * low:+.1f} to {100 * high:+.1f}</td>'
                f"<td>{d.gained} / {d.lost}</td><td>{p_in_words(d.p)}</td>"
            )
    rows: list[str] = []
    for suite, category in _lines(runs):
        score = next(s for run in runs if (s := run.score(suite, category)))
        cells = "".join(f"<td>{share(_right(run, suite, category))}</td>" for run in runs)
        total = ' class="total"' if category == TOTAL else ""
        rows.append(
            f"<tr{total}><th>{escape(suite)}</th><th>{escape(category)}</th><td>{score.cases}</td>"
            f"{cells}{told.get((suite, category), '')}</tr>"
        )
    heads = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
    if told:
        heads += "<th>points</th><th>95 %</th><th>gained / lost</th><th>p</th>"
    return (
        f'<div class="wide"><table id="scores"><thead><tr><th>suite</th><th>category</th>'
        f"<th>cases</th>{heads}</tr></thead><tbody>{''.join(rows)}</tbody><caption>In brackets, "
        "and as brackets on the bars: 95 % intervals (bootstrap).</caption></table></div>"
    )


def _marks(runs: Sequence[Run]) -> str:
    """All further measures, folded away."""
    rows: list[str] = []
    for suite, category in _lines(runs):
        found = [run.score(suite, category) for run in runs]
        names = dict.fromkeys(name for s in found if s for name in s.marks if name != RIGHT)
        for name in names:
            cells = "".join(
                f"<td>{in_words(s.marks[name]) if s and name in s.marks else ''}</td>"
                for s in found
            )
            rows.append(
                f"<tr><th>{escape(suite)}</th><th>{escape(category)}</th><td>{escape(name)}</td>"
                f"{cells}</tr>"
            )
    if not rows:
        return ""
    heads = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
    return (
        '<details class="wide"><summary>Further measures</summary><table id="marks"><thead><tr>'
        f"<th>suite</th><th>category</th><th>measure</th>{heads}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table></details>"
    )


def _cases(runs: Sequence[Run]) -> list[Shown]:
    """Every case that went wrong in a run, with what each run made of it."""
    found = [{outcome.key: outcome for outcome in run.outcomes} for run in runs]
    keys = dict.fromkeys(key for outcomes in found for key in outcomes)
    shown: list[Shown] = []
    for key in keys:
        sides = [(run.name, own.get(key)) for run, own in zip(runs, found, strict=True)]
        if any(outcome and not outcome.right for _, outcome in sides):
            shown.append(Shown(sides))
    return shown


def _options(cases: Sequence[Shown]) -> str:
    names = dict.fromkeys(case.category for case in cases)
    return "".join(f"<option>{escape(name)}</option>" for name in names)


def _kinds(cases: Sequence[Shown]) -> str:
    names = sorted({kind for case in cases for kind in case.kinds})
    return "".join(f"<option>{escape(name)}</option>" for name in names)


def _changes(runs: Sequence[Run]) -> str:
    if len(runs) < 2:
        return ""
    return (
        '<label>change <select id="change"><option value="">all</option><option>gained</option>'
        "<option>lost</option><option>neither</option></select></label>"
    )
