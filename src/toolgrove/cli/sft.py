"""``toolgrove sft``: fine-tunes a model on conversations."""

from __future__ import annotations

from pydantic import Field

from toolgrove.train.recipe import SftSettings


class SftCommand(SftSettings):
    """Fine-tuning, with what the command prints."""

    as_json: bool = Field(default=False, alias="json")
    """Print what came out as JSON."""


def run(settings: SftCommand) -> int:
    """Trains; prints where the result lies. 130 when Ctrl-C ended the run early."""
    from toolgrove.cli.memory import keeping_memory
    from toolgrove.cli.together import started, tell
    from toolgrove.eval.while_training import tool_watch
    from toolgrove.train.sft import run_sft

    watches = [tool_watch]
    code = started(settings, watches=watches)
    if code is not None:
        return code
    with keeping_memory():
        result = run_sft(SftSettings(**settings.model_dump(exclude={"as_json"})), watches)
    return tell(result, as_json=settings.as_json)
