"""``toolgrove pt``: trains a model on plain text."""

from __future__ import annotations

import json
from dataclasses import asdict

from pydantic import Field

from toolgrove.train.pt_recipe import PtSettings


class PtCommand(PtSettings):
    """Pre-training, with what the command prints."""

    as_json: bool = Field(default=False, alias="json")
    """Print what came out as JSON."""


def run(settings: PtCommand) -> int:
    """Trains; prints where the result lies. 130 when Ctrl-C ended the run early."""
    from toolgrove.cli.memory import returning_memory
    from toolgrove.train.pt import run_pt
    from toolgrove.train.ranks import ranks

    if settings.nproc_per_node > 1 and ranks() == 1:
        from toolgrove.cli.together import train_together

        return train_together(settings, "pt")
    with returning_memory():
        result = run_pt(PtSettings(**settings.model_dump(exclude={"as_json"})))
    if settings.as_json:
        print(json.dumps(asdict(result), default=str))
    else:
        print(result.checkpoint or result.output_dir)
    return result.exit_code
