"""The evaluation before and after a training as one standalone page."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, NamedTuple

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import Role, ToolCall
from toolgrove.eval.cases import Case, Result
from toolgrove.eval.curve import Point, curve
from toolgrove.eval.metrics import Share
from toolgrove.eval.runner import Report, in_words

SHOWN = 10
"""How many conversations stand side by side."""


class Fact(NamedTuple):
    """A line of the run's description."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Page:
    """What the page shows. All reports hold the same cases.

    ``free``: after the training, with calls that were not held to their schemas, if measured.
    """

    title: str
    facts: Sequence[Fact]
    before: Report
    after: Report
    free: Report | None
    losses: Sequence[Point]


STYLE = """
:root { color-scheme: light dark; --edge: #d5d8dd; --back: #fff; --ink: #1d2127; --soft: #626a75;
  --good: #1a7f37; --bad: #b3261e; --name: #8250df; --key: #0b6bcb; --value: #9a5b00;
  --line: #0b6bcb; --panel: #f6f7f9; }
@media (prefers-color-scheme: dark) { :root { --edge: #3a3f47; --back: #16181c; --ink: #e4e6ea;
  --soft: #9aa2ad; --good: #57c274; --bad: #ff8a80; --name: #c6a3ff; --key: #79b8ff;
  --value: #f0b866; --line: #79b8ff; --panel: #1e2126; } }
body { margin: 2rem auto; max-width: 68rem; padding: 0 1rem; background: var(--back);
  color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
.note, dt, caption { color: var(--soft); } caption { text-align: left; caption-side: bottom; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; } dd { margin: 0; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--edge); }
thead th { color: var(--soft); font-weight: 500; } td.gain { font-weight: 600; }
.bar { display: block; width: 9rem; height: .45rem; background: var(--panel); position: relative;
  border-radius: 3px; } .bar i { position: absolute; inset: 0 auto 0 0; background: var(--line);
  border-radius: 3px; } .bar b { position: absolute; top: -2px; bottom: -2px;
  border: solid var(--ink); border-width: 0 1px; background: color-mix(in srgb, var(--ink) 18%,
  transparent); }
.case { border: 1px solid var(--edge); border-radius: 8px; padding: .8rem 1rem; margin: 1rem 0; }
.case .tools { color: var(--soft); font-size: .85rem; }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: 1rem; }
@media (max-width: 46rem) { .pair { grid-template-columns: 1fr; } }
.side { background: var(--panel); border-radius: 6px; padding: .6rem .8rem; min-width: 0; }
.side h3 { margin: 0 0 .3rem; font-size: .85rem; font-weight: 600; }
.right h3 { color: var(--good); } .wrong h3 { color: var(--bad); }
pre { margin: .2rem 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.55 ui-monospace, monospace; }
.name { color: var(--name); font-weight: 600; } .key { color: var(--key); }
.value { color: var(--value); } .why { color: var(--bad); font-size: .85rem; }
svg text { fill: var(--soft); font: 12px system-ui, sans-serif; }
"""


def page(shown: Page) -> str:
    """The whole page; it needs no other file."""
    facts = "".join(f"<dt>{escape(f.label)}</dt><dd>{escape(f.value)}</dd>" for f in shown.facts)
    pairs = side_by_side(shown.before, shown.after)
    cases = "".join(_pair(before, after) for before, after in pairs)
    loss = f"<h2>Training loss</h2>{curve(shown.losses)}" if shown.losses else ""
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{escape(shown.title)}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}</style></head>
<body><h1>{escape(shown.title)}</h1>
<dl>{facts}</dl>
<h2>Before and after</h2>
{_table(shown)}
{loss}
<h2>{len(pairs)} conversations side by side</h2>
<p class="note">Drawn at random from the evaluation, before any reply was seen.</p>
{cases}
</body></html>
"""


def side_by_side(before: Report, after: Report, seed: int = 0) -> list[tuple[Result, Result]]:
    """Some cases with their results before and after: drawn by the seed alone."""
    answers = {result.case.name: result for result in after.results}
    both = [(result, answers[result.case.name]) for result in before.results]
    chosen = random.Random(seed).sample(range(len(both)), min(SHOWN, len(both)))
    return [both[index] for index in sorted(chosen)]


def _table(shown: Page) -> str:
    rows: list[str] = []
    for old, new in zip(shown.before.scores, shown.after.scores, strict=True):
        measured = (
            ("valid format", old.format, new.format),
            ("right function", old.function, new.function),
            ("right arguments", old.arguments, new.arguments),
        )
        free = _unheld(shown.free, old.category)
        for index, (label, was, now) in enumerate(measured):
            head = f'<th rowspan="3">{escape(old.category)}<br>' if index == 0 else ""
            head += f'<span class="note">{old.cases} cases</span></th>' if index == 0 else ""
            gain = 100 * (now.value - was.value)
            rows.append(
                f"<tr>{head}<td>{label}</td><td>{_share(was)}</td><td>{_share(now)}</td>"
                f'<td class="gain">{gain:+.1f}</td>{free[index]}</tr>'
            )
    return (
        "<table><thead><tr><th>category</th><th></th><th>before</th><th>after</th>"
        f"<th>points</th>{'<th>after, not held</th>' if shown.free else ''}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody>"
        "<caption>Before and after, calls were held to their tools' schemas while they were "
        "generated, as a server does; not held: the tuned model without that. In "
        "brackets, and as brackets on the bars: Wilson's 95 % intervals. Each line counts only "
        "what the line above it lets pass.</caption></table>"
    )


def _unheld(report: Report | None, category: str) -> tuple[str, str, str]:
    """The cells of a category with calls that were not held; empty where that was not measured."""
    if report is None:
        return ("", "", "")
    found = report.score(category)
    shares = (found.format, found.function, found.arguments)
    one, two, three = (f"<td>{_share(share)}</td>" for share in shares)
    return (one, two, three)


def _share(share: Share) -> str:
    low, high = share.interval
    return (
        f'{in_words(share)}<span class="bar"><i style="width:{100 * share.value:.1f}%"></i>'
        f'<b style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></b></span>'
    )


def _pair(before: Result, after: Result) -> str:
    case = before.case
    names = ", ".join(str(function["name"]) for function in case.functions)
    tools = "\n".join(dump(tool.spec) for tool in case.conversation.tools)
    said = "".join(
        f"<p>{escape(message.text)}</p>"
        for message in case.conversation.messages
        if message.role is Role.USER
    )
    return (
        f'<div class="case">{said}<details class="tools"><summary>{escape(case.name)}, tools: '
        f"{escape(names)}</summary><pre>{escape(tools)}</pre>"
        f"<pre>accepted: {_gold(case)}</pre></details>"
        f'<div class="pair">{_side("before", before)}{_side("after", after)}</div></div>'
    )


def _side(label: str, result: Result) -> str:
    verdict = "right" if result.arguments else "wrong"
    body = "".join(f"<pre>{_call(call)}</pre>" for call in result.reply.calls)
    said = result.reply.content.strip() if result.reply.calls else result.text.strip()
    if said:
        body = f"<pre>{escape(said)}</pre>{body}"
    why = "" if result.arguments else f'<div class="why">{escape(result.verdict.reason)}</div>'
    return f'<div class="side {verdict}"><h3>{label}: {verdict}</h3>{body}{why}</div>'


def _call(call: ToolCall) -> str:
    """A call in colours: its name, the arguments' names, their values."""
    arguments = ", ".join(
        f'<span class="key">{escape(name)}</span>=<span class="value">{escape(dump(value))}</span>'
        for name, value in call.arguments.items()
    )
    return f'<span class="name">{escape(call.name)}</span>({arguments})'


def _gold(case: Case) -> str:
    return "; ".join(f"{escape(g.name)}({escape(_values(g.arguments))})" for g in case.gold)


def _values(arguments: Any) -> str:
    return ", ".join(f"{name}: {dump(list(values))}" for name, values in arguments.items())
