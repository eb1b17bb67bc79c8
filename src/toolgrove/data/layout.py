"""The data files of a folder, chosen by subset and split."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from toolgrove.core.errors import DataError, did_you_mean
from toolgrove.data.fields import as_list, as_object
from toolgrove.data.rows import KNOWN_SUFFIXES, suffix_of

_SPLITS = {
    "train": "train",
    "training": "train",
    "test": "test",
    "testing": "test",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "dev": "validation",
    "eval": "validation",
    "evaluation": "validation",
}
_NOT_DATA = frozenset(
    {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json"}
)


class Choice(NamedTuple):
    """Which part of a data set is meant; None means the only one, or the one to train on."""

    subset: str | None = None
    split: str | None = None


def data_files(folder: Path, choice: Choice, where: str) -> list[Path]:
    """The folder's data files, sorted, of one subset and one split.

    A data card (``README.md``) with ``configs`` decides; without one, names of folders and files
    do. Files of several splits are never mixed: without a chosen split it is ``train``.
    """
    files = sorted(path for path in folder.rglob("*") if _is_data(path, folder))
    if not files:
        raise DataError(
            "a folder without data files",
            where=where,
            hint=f"known: {', '.join(sorted(KNOWN_SUFFIXES))}",
        )
    configs = _configs(folder)
    if configs:
        return _by_card(folder, configs, choice, where)
    if choice.subset is not None:
        files = _of_subset(folder, files, choice.subset, where)
    return _of_split(folder, files, choice.split, where)


def _is_data(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder).parts
    hidden = any(part.startswith(".") for part in inside)
    known = suffix_of(path) in KNOWN_SUFFIXES and path.name not in _NOT_DATA
    return known and not hidden and path.is_file()


def _split_of(path: Path, folder: Path) -> str:
    """The split that a file's name, or else its folder's, tells; "" where it tells none."""
    for part in reversed(path.relative_to(folder).parts):
        for word in re.split(r"[^a-z]+", part.lower()):
            if word in _SPLITS:
                return _SPLITS[word]
    return ""


def _of_split(folder: Path, files: list[Path], split: str | None, where: str) -> list[Path]:
    groups: dict[str, list[Path]] = {}
    for path in files:
        groups.setdefault(_split_of(path, folder), []).append(path)
    wanted = "train" if split is None else _SPLITS.get(split.lower(), split)
    if wanted in groups:
        return groups[wanted]
    if split is None and len(groups) == 1:
        return files
    named = sorted(name for name in groups if name)
    if split is None:
        names = ", ".join(str(path.relative_to(folder)) for path in files[:6])
        raise DataError(
            f"files of several splits, and none says train: {names}",
            where=where,
            hint="give one of the files, or for a hub @split",
        )
    raise _unknown("split", split, named, where)


def _of_subset(folder: Path, files: list[Path], subset: str, where: str) -> list[Path]:
    found = [path for path in files if subset in path.relative_to(folder).parts[:-1]]
    found = found or [path for path in files if _begins(path.name, subset)]
    if not found:
        folders = {part for path in files for part in path.relative_to(folder).parts[:-1]}
        raise _unknown("subset", subset, sorted(folders), where)
    return found


def _begins(name: str, subset: str) -> bool:
    rest = name.removeprefix(subset)
    return rest != name and not rest[:1].isalnum()


def _unknown(what: str, name: str, known: Sequence[str], where: str) -> DataError:
    near = did_you_mean(name, known)
    shown = f"known: {', '.join(known)}" if known else f"the data set names no {what}s"
    return DataError(f'no {what} "{name}"', where=where, hint=f"{near} {shown}" if near else shown)


def _configs(folder: Path) -> list[dict[str, Any]]:
    """The ``configs`` of the folder's data card that name files."""
    card = folder / "README.md"
    if not card.is_file():
        return []
    head = re.match(r"---\s*\n(.*?)\n---\s*(\n|$)", card.read_text("utf-8", "replace"), re.DOTALL)
    if head is None:
        return []
    import yaml

    try:
        meta = as_object(yaml.safe_load(head.group(1)))
    except yaml.YAMLError:
        return []
    configs = [as_object(item) for item in as_list((meta or {}).get("configs")) or []]
    return [config for config in configs if config is not None and config.get("data_files")]


def _by_card(folder: Path, configs: list[dict[str, Any]], choice: Choice, where: str) -> list[Path]:
    by_name = {str(config.get("config_name", "default")): config for config in configs}
    name = choice.subset
    if name is None:
        marked = [key for key, config in by_name.items() if config.get("default")]
        name = next(iter([*marked, *(key for key in by_name if key == "default")]), None)
        if name is None and len(by_name) == 1:
            name = next(iter(by_name))
        if name is None:
            raise DataError(
                f"a data set of several subsets: {', '.join(by_name)}",
                where=where,
                hint=f"choose one: {where.split('@')[0]}:{next(iter(by_name))}",
            )
    if name not in by_name:
        raise _unknown("subset", name, list(by_name), where)
    splits = _patterns(by_name[name]["data_files"])
    split = choice.split or ("train" if "train" in splits else next(iter(splits)))
    if choice.split is None and split != "train" and len(splits) > 1:
        raise DataError(
            f"several splits, and none is train: {', '.join(splits)}",
            where=where,
            hint=f"choose one: {where}@{split}",
        )
    if split not in splits:
        raise _unknown("split", split, list(splits), where)
    files = sorted({path for pattern in splits[split] for path in folder.glob(pattern)})
    if not files:
        raise DataError(f"no file is {', '.join(splits[split])}", where=where)
    return files


def _patterns(data_files: Any) -> dict[str, list[str]]:
    """The file patterns of each split of a data card's entry."""
    if isinstance(data_files, str):
        return {"train": [data_files]}
    splits: dict[str, list[str]] = {}
    for item in as_list(data_files) or [data_files]:
        entry = as_object(item)
        if entry is None:
            splits.setdefault("train", []).append(str(item))
            continue
        paths = as_list(entry.get("path")) or [entry.get("path")]
        splits.setdefault(str(entry.get("split", "train")), []).extend(str(path) for path in paths)
    return splits
