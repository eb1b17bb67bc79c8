"""``toolgrove pt``: trains a model on plain text."""

from __future__ import annotations

from pydantic import Field

from toolgrove.train.pt_recipe import PtSettings


class PtCommand(PtSettings):
    """Pre-training, with what the command prints."""

    as_json: bool = Field(default=False, alias="json")
    """Print what came out as JSON."""


def run(settings: PtCommand) -> int:
    """Trains; prints where the result lies. 130 when Ctrl-C ended the run early."""
    from toolgrove.cli.memory import keeping_memory
    from toolgrove.cli.together import started, tell
    from toolgrove.train.pt import run_pt

    code = started(settings, "pt")
    if code is not None:
        return code
    with keeping_memory():
        result = run_pt(PtSettings(**settings.model_dump(exclude={"as_json"})))
    return tell(result, as_json=settings.as_json)
