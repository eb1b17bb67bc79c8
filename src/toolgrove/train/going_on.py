"""Whether a checkpoint is one of the very model and tuner that a run goes on with."""

from __future__ import annotations

from pathlib import Path

from toolgrove.core.errors import ModelError
from toolgrove.models.base import check_base
from toolgrove.models.training_state import is_encoded
from toolgrove.models.tuned import TRAINED, WEIGHTS, Tuned, lora_weights

_CONFIG = "adapter_config.json"


def other_tuning(what: str, checkpoint: Path) -> ModelError:
    """The error of a run that would go on from what another tuning has saved."""
    return ModelError(
        what,
        where=str(checkpoint),
        hint="go on with the recipe that it was begun with: -c"
        f" {checkpoint.parent / 'recipe.yaml'} --resume true; or begin anew in another"
        " --output_dir",
    )


def refuse_other_tuning(tuned: Tuned, checkpoint: Path) -> None:
    """ModelError where the checkpoint has another base, another kind of adapter, or other weights.

    Law: nothing of the checkpoint is loaded before this is known. Of a model whose own weights are
    trained, only that it is no adapter.
    """
    adapted = (checkpoint / _CONFIG).is_file()
    if adapted is (tuned.base is None):
        here = "the model's own weights" if tuned.base is None else "an adapter"
        there = "an adapter" if adapted else "a whole model"
        raise other_tuning(f"this run trains {here}, the checkpoint holds {there}", checkpoint)
    if tuned.base is None:
        return
    check_base(tuned.model, checkpoint)
    own = checkpoint / TRAINED
    folder = own if (own / _CONFIG).is_file() else checkpoint
    _refuse_other_kind(tuned, folder, checkpoint)
    if not is_encoded(tuned.model):
        _refuse_other_weights(tuned, folder / WEIGHTS, checkpoint)


def _refuse_other_kind(tuned: Tuned, folder: Path, checkpoint: Path) -> None:
    from peft import PeftConfig

    here = tuned.model.active_peft_config
    there = PeftConfig.from_pretrained(str(folder)).peft_type
    if here.peft_type != there:
        kinds = [str(getattr(kind, "value", kind)).lower() for kind in (here.peft_type, there)]
        raise other_tuning(
            f"this run trains {kinds[0]}, the checkpoint holds {kinds[1]}", checkpoint
        )


def _refuse_other_weights(tuned: Tuned, file: Path, checkpoint: Path) -> None:
    from safetensors import safe_open

    here = {name: list(value.shape) for name, value in lora_weights(tuned.model).items()}
    with safe_open(str(file), "pt") as held:
        there = {name: list(held.get_slice(name).get_shape()) for name in held.keys()}  # noqa: SIM118
    differ = sorted(name for name in {*here, *there} if here.get(name) != there.get(name))
    if differ:
        name = differ[0]
        raise other_tuning(
            f"{len(differ)} weights of the adapter differ from the checkpoint's, such as {name}:"
            f" {here.get(name, 'none')} here, {there.get(name, 'none')} there",
            checkpoint,
        )
