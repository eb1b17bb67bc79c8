"""Writes the fingerprints of makers' chat templates that a native one is equal to.

    python scripts/fingerprints.py FOLDER_OR_FILE...

A model folder is looked at with its own special tokens. A lone ``.jinja`` file is tried with the
tokens of each model folder given. A text is known when a native template equals it on all probes,
with all options; those that are known already stay.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from toolgrove.core.errors import TemplateError
from toolgrove.templates.detect import equal_on_probes
from toolgrove.templates.own_folder import OwnTemplate, own_template
from toolgrove.templates.sameness import known_texts

FILE = Path(__file__).parents[1] / "src" / "toolgrove" / "templates" / "fingerprints.json"
SPECIAL = [
    {"bos_token": "<s>", "eos_token": "</s>"},
    {"bos_token": "", "eos_token": ""},
]


def candidates(paths: list[Path]) -> list[list[OwnTemplate]]:
    """For each path, its template with each set of special tokens that is to be tried."""
    folders = [own_template(path) for path in paths if path.is_dir()]
    tokens = [*SPECIAL, *(own.variables for own in folders)]
    alone = [path.read_text("utf-8") for path in paths if path.suffix == ".jinja"]
    return [[own] for own in folders] + [
        [OwnTemplate(source, dict(variables)) for variables in tokens] for source in alone
    ]


def main() -> int:
    """Adds what is found to the file."""
    known = dict(known_texts())
    for tried in candidates([Path(argument) for argument in sys.argv[1:]]):
        for own in tried:
            try:
                name = equal_on_probes(own)
            except TemplateError:
                continue
            if name is not None:
                known[own.fingerprint] = name
                break
    FILE.write_text(json.dumps(dict(sorted(known.items())), indent=1) + "\n", encoding="utf-8")
    print(f"{len(known)} texts are known, of {len(set(known.values()))} native templates")
    return 0


if __name__ == "__main__":
    sys.exit(main())
