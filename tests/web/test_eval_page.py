"""The page of an evaluation in a real browser: what it shows, and what its filter does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.web.test_pages import CHROMIUM, driven
from toolgrove.eval.measures import score
from toolgrove.eval.outcome import Outcome
from toolgrove.eval.report import Fact, Page, Run, page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path"),
]

EVIL = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
STEPS = """
const seen = {};
const visible = () => cases.filter((one) => !one.hidden).map((one) =>
  one.querySelector(".what").textContent);
const choose = (id, value) => { const field = byId(id); field.value = value;
  field.dispatchEvent(new Event("input")); };
seen.all = [byId("told").textContent, visible().length];
choose("category", "bfcl simple_python"); seen.category = visible(); choose("category", "");
choose("kind", "plan"); seen.kind = visible(); choose("kind", "");
choose("change", "lost"); seen.lost = visible();
choose("change", "gained"); seen.gained = visible(); choose("change", "");
choose("search", "WHICH city"); seen.search = visible(); choose("search", "nowhere");
seen.none = [byId("told").textContent, visible()]; choose("search", "");
const one = cases.find((each) => each.dataset.change === "lost"); one.open = true;
seen.sides = [...one.querySelectorAll(".sides h3")].map((head) => head.textContent);
seen.expected = one.querySelector(".sides pre").textContent;
seen.why = one.querySelector(".why").textContent;
seen.columns = getComputedStyle(one.querySelector(".sides")).gridTemplateColumns.split(" ").length;
seen.dots = document.querySelectorAll("svg circle").length;
seen.rows = [...document.querySelectorAll("#scores tbody tr")].map((row) => row.cells.length);
seen.title = document.title;
seen.loaded = performance.getEntriesByType("resource").length;
seen.wide = document.documentElement.scrollWidth <= window.innerWidth;
document.body.innerHTML = ""; const out = document.createElement("div"); out.id = "told";
out.textContent = JSON.stringify(seen); document.body.append(out);
"""


def outcome(name: str, right: bool, **more: Any) -> Outcome:
    call = {"name": "find", "arguments": {"city": EVIL}}
    given: dict[str, Any] = {
        "suite": "bfcl",
        "category": "simple_python",
        "marks": {"right": float(right)},
        "reason": "" if right else f"city is {EVIL}",
        "kind": "" if right else "value",
        "expected": f"find(city: [{EVIL}])",
        "messages": [
            {"role": "user", "content": f"Which city is {name}? {EVIL}"},
            {"role": "assistant", "content": None, "tool_calls": [{"function": call}]},
        ],
        "asked": 1,
        "texts": [EVIL],
    }
    return Outcome(name=name, **{**given, **more})


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    other = {"suite": "agent", "category": "calls", "kind": "plan"}
    plain = {**other, "messages": [{"role": "user", "content": "Hello"}]}
    base = [outcome("a", True), outcome("b", False), outcome("c", False, **plain)]
    tuned = [outcome("a", False), outcome("b", True), outcome("c", False, **plain)]
    runs = [Run("base", score(base), base), Run("tuned", score(tuned), tuned)]
    file: Path = tmp_path_factory.mktemp("web") / "report.html"
    file.write_text(page(Page("Two", [Fact("model", EVIL)], runs)), encoding="utf-8")
    return driven(file, STEPS)


def test_cases_that_went_wrong_are_filtered(told: dict[str, Any]) -> None:
    assert told["all"] == ["3 of 3 shown", 3]
    assert told["category"] == ["bfcl simple_python, a", "bfcl simple_python, b"]
    assert told["kind"] == ["agent calls, c"]
    assert told["lost"] == ["bfcl simple_python, a"]
    assert told["gained"] == ["bfcl simple_python, b"]
    assert told["search"] == ["bfcl simple_python, a", "bfcl simple_python, b"]
    assert told["none"] == ["0 of 3 shown", []]


def test_expected_got_and_why_stand_side_by_side(told: dict[str, Any]) -> None:
    assert told["sides"] == ["expected", "base: right", "tuned: wrong"]
    assert told["expected"] == f"find(city: [{EVIL}])"
    assert told["why"] == f"city is {EVIL}"
    assert told["columns"] == 3
    assert told["dots"] == 8
    assert set(told["rows"]) == {9}


def test_what_models_say_is_never_markup(told: dict[str, Any]) -> None:
    assert told["title"] == "Two"
    assert told["loaded"] == 0
    assert told["wide"] is True
