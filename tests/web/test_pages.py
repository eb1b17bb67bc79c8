"""The pages of ``show`` and ``check`` in a real browser: what they show, and what clicks do."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from tests.laws.tokenizer import small_tokenizer
from toolgrove.cli.main import main

CHROMIUM = next((found for name in ("chromium", "chromium-browser", "google-chrome", "chrome")
                 if (found := shutil.which(name))), None)  # fmt: skip
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs chromium on the path"),
]

EVIL = "</script><script>document.title = 'owned'</script><img src=x onerror=alert(1)>"
ROWS = [
    {"query": "What is one and one?", "response": "It is two."},
    {"query": f"What does {EVIL} mean?", "response": "It is a trick.\x07"},
    {"query": "My key is AKIAZ3QW7RTY5UPL2KMN.", "response": "Keep it secret."},
]
STEPS = """
const told = {};
const look = (name) => { told[name] = [byId("place").textContent, byId("where").textContent,
  byId("sequences").textContent, byId("findings").textContent, location.hash]; };
look("first");
byId("after").click(); look("next");
byId("after").click(); look("last"); told.end = byId("after").disabled;
byId("before").click(); look("back");
byId("code").value = "secret"; byId("code").dispatchEvent(new Event("change")); look("code");
byId("code").value = ""; byId("code").dispatchEvent(new Event("change"));
byId("search").value = "one AND one"; byId("search").dispatchEvent(new Event("input"));
look("search");
const learnt = document.querySelector("#sequences span.on"); learnt.click();
told.token = byId("token").textContent;
told.chosen = learnt.classList.contains("chosen");
byId("search").value = "nowhere"; byId("search").dispatchEvent(new Event("input")); look("none");
byId("search").value = ""; byId("search").dispatchEvent(new Event("input"));
document.activeElement.blur();
document.dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowRight" })); look("key");
told.title = document.title;
told.loaded = performance.getEntriesByType("resource").length;
const out = document.createElement("div"); out.id = "told"; out.textContent = JSON.stringify(told);
document.body.append(out);
"""


def dom(page: Path, address: str = "") -> str:
    """The page's elements after its scripts have run."""
    words = ["--headless=new", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=3000"]
    url = f"{page.as_uri()}{address}"
    done = subprocess.run(
        [str(CHROMIUM), *words, "--dump-dom", url], capture_output=True, timeout=120, check=True
    )
    return done.stdout.decode()


def inner(text: str, name: str) -> str:
    """The text of the element with an id, as far as it has no elements inside."""
    found = re.search(rf'id="{name}"[^>]*>(.*?)<', text, re.DOTALL)
    assert found is not None
    return unescape(found[1])


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("web") / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return file


@pytest.fixture(scope="module")
def shown(data: Path) -> Path:
    page = data.with_name("show.html")
    words = ["--model", str(small_tokenizer().folder), "--template", "chatml", "--rows", "9"]
    assert main(["show", str(data), *words, "--html", str(page)]) == 0
    return page


def driven(page: Path, steps: str) -> dict[str, Any]:
    """What the steps tell when they run at the end of the page."""
    copy = page.with_name(f"driven_{page.name}")
    html = page.read_text(encoding="utf-8")
    copy.write_text(html.replace("</body>", f"<script>{steps}</script></body>"), encoding="utf-8")
    return json.loads(inner(dom(copy), "told"))


def test_rows_are_browsed_searched_and_filtered(shown: Path) -> None:
    told = driven(shown, STEPS)
    assert told["first"][0] == "1 of 3"
    assert "What is one and one?" in told["first"][2]
    assert told["next"][0] == "2 of 3"
    assert EVIL in told["next"][2]
    assert "control-character" in told["next"][3]
    assert "␇" in told["next"][2]
    assert told["last"][0] == "3 of 3"
    assert told["end"] is True
    assert told["back"][0] == "2 of 3"
    assert told["code"][0] == "1 of 1"
    assert told["code"][1].endswith("rows.jsonl:3")
    assert told["search"][0] == "1 of 1"
    assert "search=one+AND+one" in told["search"][4]
    assert told["none"][0] == "no row fits"
    assert told["none"][2] == ""
    assert told["key"][0] == "2 of 3"


def test_a_chosen_token_tells_id_kind_weight_and_rule(shown: Path) -> None:
    told = driven(shown, STEPS)
    assert told["chosen"] is True
    assert re.search(r"id\d+kindtextweight1ruledefault: the model writes it", told["token"])


def test_what_rows_say_is_never_markup(shown: Path) -> None:
    told = driven(shown, STEPS)
    assert told["title"] == "Tokens and weights"
    assert told["loaded"] == 0


def test_an_address_opens_a_row(shown: Path) -> None:
    assert inner(dom(shown, "#row=3"), "place") == "3 of 3"
    assert inner(dom(shown, "#code=secret"), "place") == "1 of 1"


def test_the_report_is_searched_and_filtered(data: Path) -> None:
    page = data.with_name("report.html")
    main(["check", str(data), "--html", str(page)])
    steps = """
    const seen = { all: document.getElementById("told").textContent };
    const visible = () => rows.filter((row) => !row.hidden).map((row) => row.dataset.code);
    code.value = "secret"; code.dispatchEvent(new Event("change")); seen.secret = visible();
    code.value = ""; search.value = "u+0007"; search.dispatchEvent(new Event("input"));
    seen.found = visible();
    seen.charts = document.querySelectorAll("figure svg rect").length;
    seen.title = document.title;
    document.body.innerHTML = ""; const out = document.createElement("div"); out.id = "told";
    out.textContent = JSON.stringify(seen); document.body.append(out);
    """
    told = driven(page, steps)
    assert told["all"] == "2 of 2 shown"
    assert told["secret"] == ["secret"]
    assert told["found"] == ["control-character"]
    assert told["charts"] > 5
    assert told["title"] == f"Check of {data}"
