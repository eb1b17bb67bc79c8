"""The parts of an evaluation's page: its style, its script, and a case with its replies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from toolgrove.core.jsonish import dump
from toolgrove.core.messages import JSON
from toolgrove.eval.measures import Measure, in_words
from toolgrove.eval.outcome import Outcome

LONGEST = 6000
"""Characters of one message that are shown; how many more there are is told."""

CSS = """
:root { color-scheme: light dark; --edge: #d5d8dd; --back: #fff; --ink: #1d2127; --soft: #626a75;
  --good: #1a7f37; --bad: #b3261e; --name: #8250df; --key: #0b6bcb; --value: #9a5b00;
  --line: #0b6bcb; --panel: #f6f7f9; --run0: #0b6bcb; --run1: #b3541e; --run2: #1a7f37; }
@media (prefers-color-scheme: dark) { :root { --edge: #3a3f47; --back: #16181c; --ink: #e4e6ea;
  --soft: #9aa2ad; --good: #57c274; --bad: #ff8a80; --name: #c6a3ff; --key: #79b8ff;
  --value: #f0b866; --line: #79b8ff; --panel: #1e2126; --run0: #79b8ff; --run1: #f0b866;
  --run2: #57c274; } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--back);
  color: var(--ink); font: 15px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.15rem; margin: 2.4rem 0 .6rem; }
.note, dt, caption, figcaption { color: var(--soft); }
caption { text-align: left; caption-side: bottom; } figure { margin: 0; }
.run { margin-right: 1.2rem; } .run i { display: inline-block; width: .7rem; height: .7rem;
  border-radius: 50%; margin-right: .4rem; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.2rem; } dd { margin: 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .35rem .8rem .35rem 0; border-bottom: 1px solid var(--edge);
  font-weight: 400; } thead th { color: var(--soft); } td.gain, .total th { font-weight: 600; }
.bar { display: block; width: 9rem; height: .45rem; background: var(--panel); position: relative;
  border-radius: 3px; } .bar i { position: absolute; inset: 0 auto 0 0; background: var(--line);
  border-radius: 3px; } .bar b { position: absolute; top: -2px; bottom: -2px;
  border: solid var(--ink); border-width: 0 1px; background: color-mix(in srgb, var(--ink) 18%,
  transparent); }
form label { margin-right: 1rem; color: var(--soft); }
.case { border: 1px solid var(--edge); border-radius: 8px; padding: .5rem 1rem; margin: .6rem 0; }
.case[hidden] { display: none; } summary { cursor: pointer; }
.case .what { color: var(--soft); font-size: .85rem; }
.sides { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem; }
.side { background: var(--panel); border-radius: 6px; padding: .6rem .8rem; min-width: 0; }
.side h3 { margin: 0 0 .3rem; font-size: .85rem; font-weight: 600; }
.right h3 { color: var(--good); } .wrong h3 { color: var(--bad); }
pre { margin: .2rem 0; white-space: pre-wrap; overflow-wrap: anywhere;
  font: 13px/1.55 ui-monospace, monospace; }
.role { color: var(--soft); font-size: .8rem; }
.name { color: var(--name); font-weight: 600; } .key { color: var(--key); }
.value { color: var(--value); } .why { color: var(--bad); font-size: .85rem; }
svg text { fill: var(--soft); stroke: none; font: 12px system-ui, sans-serif; }
"""

SCRIPT = """
const byId = (id) => document.getElementById(id);
const cases = [...document.querySelectorAll(".case")];
const fields = ["category", "kind", "change", "search"].map(byId).filter(Boolean);
function filter() {
  const chosen = (id) => byId(id)?.value ?? "";
  const [category, kind, change] = [chosen("category"), chosen("kind"), chosen("change")];
  const words = byId("search").value.toLowerCase().split(/\\s+/).filter(Boolean);
  let shown = 0;
  for (const one of cases) {
    const text = words.length ? one.textContent.toLowerCase() : "";
    one.hidden = !((!category || one.dataset.category === category)
      && (!kind || one.dataset.kinds.split("|").includes(kind))
      && (!change || one.dataset.change === change)
      && words.every((word) => text.includes(word)));
    shown += !one.hidden;
  }
  byId("told").textContent = `${shown} of ${cases.length} shown`;
}
for (const field of fields) field.addEventListener("input", filter);
byId("filter").addEventListener("submit", (event) => event.preventDefault());
filter();
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """A case as each run answered it (None: not in that run)."""

    sides: Sequence[tuple[str, Outcome | None]]

    @property
    def outcome(self) -> Outcome:
        """Any of its outcomes: question, tools and what was expected are the same in all."""
        return next(outcome for _, outcome in self.sides if outcome)

    @property
    def category(self) -> str:
        """Suite and category."""
        return f"{self.outcome.suite} {self.outcome.category}"

    @property
    def kinds(self) -> set[str]:
        """Why it went wrong, by kind."""
        return {o.kind or "wrong" for _, o in self.sides if o and not o.right}

    @property
    def change(self) -> str:
        """What became of it from the first run to the second."""
        found = [outcome.right for _, outcome in self.sides[:2] if outcome]
        if len(found) < 2 or found[0] == found[1]:
            return "neither"
        return "gained" if found[1] else "lost"


def share(found: Measure | None) -> str:
    """A share in words with a bar under it."""
    if found is None:
        return ""
    value, low, high, _ = found
    return (
        f'{in_words(found)}<span class="bar"><i style="width:{100 * value:.1f}%"></i>'
        f'<b style="left:{100 * low:.1f}%;width:{100 * (high - low):.1f}%"></b></span>'
    )


def case_block(case: Shown) -> str:
    """A case: what was asked, what was expected, and what each run said."""
    outcome = case.outcome
    before = outcome.messages[: outcome.asked]
    question = next((m for m in reversed(before) if m["role"] == "user"), {})
    tools = "\n".join(dump(tool) for tool in outcome.tools)
    sides = "".join(_side(name, one) for name, one in case.sides if one)
    kinds = "|".join(sorted(case.kinds))
    return (
        f'<details class="case" data-category="{escape(case.category)}" '
        f'data-kinds="{escape(kinds)}" data-change="{case.change}"><summary>'
        f"{_cut(str(question.get('content') or outcome.name), 200)} "
        f'<span class="what">{escape(case.category)}, {escape(outcome.name)}</span></summary>'
        f'<div class="before">{"".join(_message(m) for m in before)}</div>'
        f'<details class="what"><summary>{len(outcome.tools)} tools</summary><pre>{_cut(tools)}'
        f'</pre></details><div class="sides"><div class="side"><h3>expected</h3><pre>'
        f"{escape(outcome.expected)}</pre></div>{sides}</div></details>"
    )


def _side(name: str, outcome: Outcome) -> str:
    word = "right" if outcome.right else "wrong"
    said = "".join(_message(message) for message in outcome.messages[outcome.asked :])
    text = "\n".join(outcome.texts)
    raw = (
        f'<details class="what"><summary>as it came</summary><pre>{_cut(text)}</pre></details>'
        if text
        else ""
    )
    why = "" if outcome.right else f'<div class="why">{_cut(outcome.reason)}</div>'
    title = f"{escape(name)}: {word}"
    return f'<div class="side {word}"><h3>{title}</h3>{said}{why}{raw}</div>'


def _message(message: JSON) -> str:
    """A message: who says it, its thinking, its text and its calls."""
    parts = [f'<div class="role">{escape(str(message["role"]))}</div>']
    thinking = message.get("reasoning_content")
    if thinking:
        parts.append(f'<pre class="what">{_cut(str(thinking))}</pre>')
    content = message.get("content")
    if content:
        parts.append(f"<pre>{_cut(content if isinstance(content, str) else dump(content))}</pre>")
    calls: list[JSON] = message.get("tool_calls") or []
    parts += [f"<pre>{_call(call['function'])}</pre>" for call in calls]
    if len(parts) == 1:
        parts.append('<pre class="what">nothing</pre>')
    return "".join(parts)


def _call(function: JSON) -> str:
    """A call in colours: its name, the arguments' names, their values."""
    given: Any = function["arguments"]
    if not isinstance(given, dict):
        return f'<span class="name">{escape(str(function["name"]))}</span>({escape(str(given))})'
    arguments = ", ".join(
        f'<span class="key">{escape(name)}</span>=<span class="value">{_cut(dump(value))}</span>'
        for name, value in given.items()
    )
    return f'<span class="name">{escape(str(function["name"]))}</span>({arguments})'


def _cut(text: str, longest: int = LONGEST) -> str:
    """The text, escaped; the end of a long one is left out, which is told."""
    if len(text) <= longest:
        return escape(text)
    return f"{escape(text[:longest])} … ({len(text) - longest} more characters)"
