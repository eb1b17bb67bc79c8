"""What decides an encoded data set, by name: any of it changed makes another one."""

from __future__ import annotations

from datetime import date
from hashlib import blake2b
from pathlib import Path

import toolgrove
from toolgrove.core.messages import JSON
from toolgrove.data.stream import Mixture, files_of
from toolgrove.encoding.job import Job
from toolgrove.encoding.parallel import ROWS_PER_SHARD
from toolgrove.encoding.tables import is_table_file

_LAYOUT = 1
"""The layout of the files; a change of it makes caches of before unreadable."""
_CODE = ("core", "data", "templates", "encoding")
"""The packages whose code decides what a row becomes."""
_TEXT_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
_SOME_OTHER_DAY = date(2001, 2, 3)


def identity(mixture: Mixture, job: Job) -> JSON:
    """All that decides the cache of these rows, each part as text or JSON."""
    return {
        **encoding_identity(job),
        "data": [[str(file), _hash([file])] for file in files_of(mixture)],
        "mixture": [
            list(mixture.specs),
            list(mixture.weights),
            mixture.stopping,
            list(mixture.general),
            mixture.general_ratio,
            list(mixture.names),
            list(mixture.authors),
            mixture.seed,
        ],
    }


def encoding_identity(job: Job) -> JSON:
    """All that decides what a row becomes.

    ``code`` changes with every change of the package's code for text and with every plug-in, so a
    template that was edited never meets a cache of before, be the version the same.
    """
    root = Path(toolgrove.__file__).parent
    code = [file for name in _CODE for file in sorted((root / name).rglob("*.py"))]
    dialect = job.dialect()
    fingerprint = dialect.fingerprint()
    dated = job.dialect(_SOME_OTHER_DAY).fingerprint() != fingerprint
    tables = [name for name in job.loss_scale.split("+") if is_table_file(name.strip())]
    return {
        "toolgrove": toolgrove.__version__,
        "layout": [_LAYOUT, ROWS_PER_SHARD],
        "code": _hash([*code, *map(Path, job.plugins)]),
        "dialect": [
            dialect.chat_name,
            dialect.agent_name,
            dict(dialect.options),
            dialect.native,
            job.today.isoformat() if dated else None,
            fingerprint,
        ],
        "tokenizer": _hash([job.folder / name for name in _TEXT_FILES]),
        "loss_scale": [job.loss_scale, _hash([Path(name.strip()) for name in tables])],
        "history": job.history,
        "max_length": [job.max_length, job.truncation if job.max_length else None],
        "system": job.system,
        "columns": job.columns,
        "on_bad_row": job.on_bad_row,
    }


def _hash(files: list[Path]) -> str:
    """A hash over the contents of the files that are there, and how many are."""
    digest = blake2b(digest_size=16)
    for file in files:
        if not file.is_file():
            digest.update(b"\0none")
            continue
        digest.update(file.stat().st_size.to_bytes(8))
        with file.open("rb") as stream:
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()
