"""Writes the list of modules in AGENTS.md from the sentence that opens each module."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
FILE = ROOT / "AGENTS.md"
BEGIN, END = "<!-- modules -->", "<!-- /modules -->"


def listed() -> str:
    """AGENTS.md as it should be."""
    before, _, rest = FILE.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n{modules()}\n{END}{after}"


def modules() -> str:
    """A heading for each package, a line for each module."""
    lines: list[str] = []
    for folder in sorted({file.parent for file in (ROOT / "src").rglob("*.py")}):
        lines += ["", f"### `{folder.relative_to(ROOT)}`", ""]
        files = sorted(folder.glob("*.py"), key=lambda file: (file.stem != "__init__", file.stem))
        lines += [f"- `{file.name}`: {sentence(file)}" for file in files]
    return "\n".join(lines[1:])


def sentence(file: Path) -> str:
    """The first paragraph of the module's docstring, in one line."""
    doc = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "(says nothing)"
    return " ".join(doc.partition("\n\n")[0].split())


if __name__ == "__main__":
    new = listed()
    if "--check" in sys.argv:
        sys.exit(new != FILE.read_text(encoding="utf-8") and "AGENTS.md is old: make format")
    FILE.write_text(new, encoding="utf-8")
