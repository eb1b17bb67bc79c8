"""The doctor's report as one page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape

from toolgrove.data.doctor.charts import Bar, bar_chart
from toolgrove.data.doctor.counts import Counts
from toolgrove.data.doctor.findings import Finding, Kind
from toolgrove.data.doctor.tally import Tally

_STYLE = """
:root { color-scheme: light dark; --edge: #d5d8dd; --back: #fff; --ink: #1d2127; --soft: #5c6470;
  --bar: #2c8a4b; --error: #c0322b; --warning: #a87400; }
@media (prefers-color-scheme: dark) { :root { --edge: #3a3f47; --back: #16181c; --ink: #e4e6ea;
  --soft: #9aa1ab; --bar: #4fb573; --error: #ef7a70; --warning: #e0b04a; } }
body { margin: 2rem auto; max-width: 70rem; padding: 0 1rem; background: var(--back);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(26rem, 1fr)); gap: 1rem; }
figure { margin: 0; border: 1px solid var(--edge); border-radius: 6px; padding: .8rem; }
figcaption { font-weight: 600; margin-bottom: .3rem; }
svg { width: 100%; height: auto; } svg rect { fill: var(--bar); }
svg text { font: 12px system-ui, sans-serif; fill: var(--ink); } svg .n { fill: var(--soft); }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0;
  border-bottom: 1px solid var(--edge); overflow-wrap: anywhere; }
.kinds td:nth-child(-n+3) { white-space: nowrap; }
th { font-weight: 600; white-space: nowrap; } td:last-child { padding-right: 0; }
.error { color: var(--error); } .warning { color: var(--warning); } .soft { color: var(--soft); }
code { font: 13px ui-monospace, monospace; }
.bar { display: flex; gap: .8rem; margin: .5rem 0; flex-wrap: wrap; }
input, select { font: inherit; padding: .2rem .4rem; background: var(--back); color: var(--ink);
  border: 1px solid var(--edge); border-radius: 4px; }
"""
_SCRIPT = """
const rows = [...document.querySelectorAll('#findings tbody tr')];
const code = document.getElementById('code'), search = document.getElementById('search');
const told = document.getElementById('told');
function show() {
  const wanted = search.value.toLowerCase();
  let count = 0;
  for (const row of rows) {
    const fits = (!code.value || row.dataset.code === code.value)
      && row.textContent.toLowerCase().includes(wanted);
    row.hidden = !fits;
    count += fits;
  }
  told.textContent = count + ' of ' + rows.length + ' shown';
}
code.addEventListener('change', show);
search.addEventListener('input', show);
show();
"""


def page(title: str, tally: Tally, counts: Counts) -> str:
    """The report: what was found, the findings to search in, and what the data is made of."""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{_STYLE}</style></head>
<body><h1>{escape(title)}</h1>
<p>{counts.rows:,} rows: {tally.rows_with_errors:,} with errors, {tally.rows_with_warnings:,} with
warnings only, {counts.rows - tally.rows_with_errors - tally.rows_with_warnings:,} clean.</p>
{_kinds(tally)}
<h2>What the data is made of</h2>
<div class="charts">{"".join(_charts(counts))}</div>
{_findings(tally)}
<script>{_SCRIPT}</script>
</body></html>
"""


def _kinds(tally: Tally) -> str:
    rows = "".join(
        f'<tr><td class="{kind.severity}">{kind.severity}</td><td><code>{kind.code}</code></td>'
        f"<td>{count:,}</td><td>{escape(kind.cause)}</td><td>{escape(kind.fix)}</td></tr>"
        for kind, count, _ in tally.by_weight()
    )
    head = "<tr><th></th><th>code</th><th>found</th><th>what it is</th><th>way out</th></tr>"
    if not rows:
        return "<p>Nothing was found.</p>"
    table = f'<table class="kinds"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    return f"<h2>What was found</h2>{table}"


def _findings(tally: Tally) -> str:
    kinds = list(tally.by_weight())
    options = "".join(
        f'<option value="{kind.code}">{kind.code} ({count:,})</option>' for kind, count, _ in kinds
    )
    rows = "".join(_finding(kind, finding) for kind, _, kept in kinds for finding in kept)
    left = sum(count - len(kept) for _, count, kept in kinds)
    rest = f" {left:,} more are not on this page: see --json." if left else ""
    head = "<tr><th>where</th><th>code</th><th>what</th><th>way out</th></tr>"
    return (
        '<h2>Findings</h2><div class="bar"><select id="code"><option value="">all codes</option>'
        f'{options}</select><input id="search" type="search" placeholder="search">'
        f'<span class="soft"><span id="told"></span>.{rest}</span></div>'
        f'<table id="findings"><thead>{head}</thead><tbody>{rows}</tbody></table>'
    )


def _finding(kind: Kind, finding: Finding) -> str:
    place = f"{finding.file}:{finding.line}"
    return (
        f'<tr data-code="{kind.code}"><td>{escape(place)}<br><code>{escape(finding.path)}</code>'
        f'</td><td class="{kind.severity}"><code>{kind.code}</code></td>'
        f"<td>{escape(finding.message)}</td><td>{escape(finding.fix)}</td></tr>"
    )


def _charts(counts: Counts) -> Iterator[str]:
    yield bar_chart("Rows by length, in characters", _steps(sorted(counts.lengths.items())))
    yield bar_chart("Sequences by length, in tokens", _steps(sorted(counts.token_lengths.items())))
    shares = sorted(counts.trained_shares.items())
    yield bar_chart(
        "Sequences by the share of tokens that is learnt",
        [Bar(f"{low} to {low + 5} %", count) for low, count in shares],
    )
    yield bar_chart("Assistant turns by number of calls", _numbers(counts.calls_per_turn.items()))
    yield bar_chart("Rows by number of tools on offer", _numbers(counts.tools_offered.items()))
    yield bar_chart("Rows by number of messages", _numbers(counts.turns.items()))
    yield bar_chart("Tools called", _bars(counts.tools_called.most_common(20)))
    yield bar_chart("Messages by role", _bars(counts.messages.most_common()))
    yield bar_chart("Rows by script", _bars(counts.languages.most_common(12)))


def _steps(pairs: Sequence[tuple[int, int]]) -> list[Bar]:
    return [Bar(f"{top // 2 + 1:,} to {top:,}" if top > 1 else "1", count) for top, count in pairs]


def _numbers(pairs: Iterable[tuple[int, int]]) -> list[Bar]:
    return [Bar(str(number), count) for number, count in sorted(pairs)]


def _bars(pairs: Sequence[tuple[str, int]]) -> list[Bar]:
    return [Bar(name, count) for name, count in pairs]
