"""The folder of a run: where it is, what lies in it, where to go on from."""

from __future__ import annotations

import json
import logging
import re
import zipfile
from pathlib import Path

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.templates.spoken import FILE as DIALECT
from toolgrove.train.settings import TrainSettings

logger = logging.getLogger(__name__)

RECIPE = "recipe.yaml"
METRICS = "metrics.jsonl"
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_WEIGHTS = ("adapter_model.safetensors", "model.safetensors", "model.safetensors.index.json")
_STATE = ("trainer_state.json", "scheduler.pt")
_OPTIMIZER = "optimizer.pt"


def run_folder(settings: TrainSettings) -> Path:
    """The folder for this run, made if need be.

    A folder that already holds a run is refused, unless the run goes on (``resume``,
    ``resume_from_checkpoint``) or ``add_version`` asks for a new v0, v1, ... inside it.
    """
    home = Path(settings.output_dir or Path("output") / _name_of(settings.model)).expanduser()
    goes_on = settings.resume or settings.resume_from_checkpoint is not None
    if settings.add_version:
        versions = sorted(home.glob("v[0-9]*"), key=_version)
        latest = _version(versions[-1]) if versions else -1
        home = home / f"v{max(latest, 0) if goes_on else latest + 1}"
    elif _holds_a_run(home) and not goes_on:
        raise ConfigError(
            "this folder already holds a run",
            where=str(home),
            hint="--resume goes on with it, --add_version puts a new run beside it,"
            " another --output_dir keeps them apart",
        )
    if home.exists() and not home.is_dir():
        raise ConfigError("output_dir is a file", where=str(home), hint="name a folder")
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"cannot make the folder: {error.strerror}", where=str(home)) from error
    return home


def checkpoint_to_resume(settings: TrainSettings, folder: Path) -> Path | None:
    """The checkpoint to go on from, or None for a start from nothing.

    Those that a run left unfinished when it was killed are passed over, said in the log. ModelError
    for one that was finished and can no longer be read: it names the next older one.
    """
    if settings.resume_from_checkpoint is not None:
        chosen = Path(settings.resume_from_checkpoint).expanduser()
        if not chosen.is_dir():
            raise ModelError("no such checkpoint folder", where=str(chosen), hint=_known(folder))
        if not is_whole(chosen):
            raise ModelError(
                "this checkpoint cannot be resumed from: weights, optimizer or trainer state"
                " are missing or cut off",
                where=str(chosen),
                hint=_known(folder),
            )
        _refuse_damaged(chosen, chosen.parent)
        return chosen
    chosen = newest_checkpoint(folder) if settings.resume else None
    if chosen is None:
        return None
    for path in checkpoints(folder):
        if step_of(path) > step_of(chosen):
            logger.warning("%s was not finished when its run ended: passed over", path)
    _refuse_damaged(chosen, folder)
    return chosen


def _refuse_damaged(checkpoint: Path, folder: Path) -> None:
    what = damage(checkpoint)
    if what is None:
        return
    mine = step_of(checkpoint)
    older = [path for path in checkpoints(folder) if step_of(path) < mine and is_whole(path)]
    sound = next((path for path in reversed(older) if damage(path) is None), None)
    raise ModelError(
        f"this checkpoint is damaged: {what}",
        where=str(checkpoint),
        hint=f"the next older one is sound: --resume_from_checkpoint {sound}"
        if sound
        else "no older one is sound: begin anew in another --output_dir",
    )


def newest_checkpoint(folder: Path, *, whole: bool = True) -> Path | None:
    """The checkpoint of the highest step; ``whole`` leaves out those that were cut off."""
    found = [path for path in checkpoints(folder) if not whole or is_whole(path)]
    return found[-1] if found else None


def checkpoints(folder: Path) -> list[Path]:
    """All ``checkpoint-N`` folders, by step."""
    found = [path for path in folder.glob("checkpoint-*") if _CHECKPOINT.fullmatch(path.name)]
    return sorted(found, key=step_of)


def step_of(checkpoint: Path) -> int:
    """The optimizer step after which a checkpoint was saved."""
    match = _CHECKPOINT.fullmatch(checkpoint.name)
    if match:
        return int(match[1])
    return int(json.loads((checkpoint / _STATE[0]).read_text(encoding="utf-8"))["global_step"])


def is_finished(folder: Path) -> bool:
    """Whether the run in the folder has come to its last step."""
    newest = newest_checkpoint(folder)
    if newest is None:
        return False
    state = json.loads((newest / _STATE[0]).read_text(encoding="utf-8"))
    return int(state["global_step"]) >= int(state["max_steps"])


def is_whole(checkpoint: Path) -> bool:
    """Whether training can go on from here. The trainer's state is written last."""
    if not any((checkpoint / name).is_file() for name in _WEIGHTS):
        return False
    if not all((checkpoint / name).is_file() for name in _STATE):
        return False
    zero = zero_folder(checkpoint)
    if not ((checkpoint / _OPTIMIZER).is_file() or (zero is not None and zero_ranks(zero))):
        return False
    try:
        json.loads((checkpoint / _STATE[0]).read_text(encoding="utf-8"))
    except ValueError:
        return False
    return True


def damage(checkpoint: Path) -> str | None:
    """What in a whole checkpoint can no longer be read, or None.

    Headers and sizes of weights, and the checksums of optimizer and scheduler, are looked at.
    """
    for file in sorted(checkpoint.rglob("*.safetensors")):
        if not _is_safetensors(file):
            return f"{file.relative_to(checkpoint)} is cut off or not a file of weights"
    zero = zero_folder(checkpoint)
    files = sorted(zero.glob("*.pt")) if zero else [checkpoint / _OPTIMIZER]
    for file in (*files, checkpoint / "scheduler.pt"):
        name = file.relative_to(checkpoint)
        try:
            with zipfile.ZipFile(file) as held:
                bad = held.testzip()
        except (zipfile.BadZipFile, EOFError) as error:
            return f"{name} cannot be read ({error})"
        if bad is not None:
            return f"{name} has other contents than were written"
    return None


def zero_folder(checkpoint: Path) -> Path | None:
    """Where DeepSpeed keeps its part of a checkpoint, or None where it has none."""
    latest = checkpoint / "latest"
    return checkpoint / latest.read_text(encoding="utf-8").strip() if latest.is_file() else None


def zero_ranks(folder: Path) -> int:
    """How many processes wrote DeepSpeed's folder."""
    return len(list(folder.glob("*zero_pp_rank_*_optim_states.pt")))


def refuse_other_shape(checkpoint: Path, stage: int, ranks: int) -> None:
    """ConfigError where a run of this shape cannot go on from the checkpoint.

    ``stage`` is that of ZeRO, 0 without it. DeepSpeed's part of a checkpoint belongs to its stage
    and number of processes; all other checkpoints are those of one process and fit any number.
    """
    zero = zero_folder(checkpoint)
    if zero is None and not stage:
        return
    where = str(checkpoint)
    if zero is None:
        raise ConfigError(
            "this checkpoint was not saved by DeepSpeed, which cannot go on from it",
            where=where,
            hint="leave --parallel out, or --parallel ddp or fsdp2",
        )
    wrote = zero_ranks(zero)
    third = any(zero.glob("*zero_pp_rank_*_model_states.pt"))
    again = f"as before: --parallel {'zero3' if third else 'zero1 or zero2'}, {wrote} processes"
    if not stage:
        raise ConfigError(
            f"DeepSpeed saved this checkpoint with {wrote} processes: only it can go on from it",
            where=where,
            hint=f"{again}; or begin a new run with the tuned model, merged",
        )
    if wrote != ranks or (stage == 3) != third:
        saved = "ZeRO-3" if third else "ZeRO-1 or 2"
        raise ConfigError(
            f"{saved} saved this checkpoint with {wrote} processes;"
            f" this run has {ranks} and stage {stage}",
            where=where,
            hint=again,
        )


def _is_safetensors(file: Path) -> bool:
    """Whether the file is as long as its header says (8 bytes of length, JSON, then data)."""
    size = file.stat().st_size
    with file.open("rb") as held:
        length = int.from_bytes(held.read(8), "little")
        if not 0 < length <= size - 8:
            return False
        try:
            header = json.loads(held.read(length))
        except ValueError:
            return False
    ends = [value["data_offsets"][1] for name, value in header.items() if name != "__metadata__"]
    return max(ends, default=0) == size - 8 - length


def is_run_or_checkpoint(folder: Path) -> bool:
    """Whether a training wrote this folder."""
    written = (DIALECT, RECIPE, METRICS, _STATE[0])
    return bool(_CHECKPOINT.fullmatch(folder.name)) or any((folder / f).is_file() for f in written)


def _holds_a_run(folder: Path) -> bool:
    """Whether training has begun here; a start that failed before its first step does not count."""
    metrics = folder / METRICS
    begun = metrics.is_file() and metrics.stat().st_size > 0
    return begun or bool(checkpoints(folder))


def _known(folder: Path) -> str:
    whole = [str(path) for path in checkpoints(folder) if is_whole(path)]
    return f"whole checkpoints: {', '.join(whole)}" if whole else f"none is in {folder} yet"


def _version(path: Path) -> int:
    digits = path.name.removeprefix("v")
    return int(digits) if digits.isdigit() else -1


def _name_of(model: str) -> str:
    name = model.rstrip("/").replace(":", "/").rpartition("/")[2]
    return re.sub(r"[^\w.-]+", "-", name) or "model"
