"""Specs name sources; what cannot be had is one clear error."""

import os
import zipfile
from collections import Counter

import pytest

from toolgrove.core.errors import DataError
from toolgrove.data import wheels
from toolgrove.data.layout import Choice, data_files
from toolgrove.data.sources import Place, Source, parse_source, pypi_wheel, resolve, sample


@pytest.fixture
def index(tmp_path, monkeypatch):
    """A package index that is a folder, holding the wheel tiny-rows 1.2.0."""
    links = tmp_path / "links"
    links.mkdir()
    info = "tiny_rows-1.2.0.dist-info"
    with zipfile.ZipFile(links / "tiny_rows-1.2.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_rows/data/train.jsonl", '{"query": "a", "response": "b"}\n')
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-rows\nVersion: 1.2.0")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(links))
    return links


def failure(spec, cache=None) -> DataError:
    with pytest.raises(DataError) as caught:
        resolve(spec, cache)
    return caught.value


def test_a_path_that_exists_wins_over_its_hash(tmp_path):
    path = tmp_path / "rows#7.jsonl"
    path.write_text("{}")
    assert parse_source(str(path)) == Source(Place.LOCAL, str(path))
    assert parse_source(f"{path}#3") == Source(Place.LOCAL, str(path), 3)


def test_specs_of_hubs_and_packages():
    assert parse_source("hf:org/name:sub@train#500") == Source(
        Place.HUGGING_FACE, "org/name:sub@train", 500
    )
    assert parse_source("ms::org/name") == Source(Place.MODEL_SCOPE, "org/name")
    assert parse_source("pypi:a==1/x.jsonl#2") == Source(Place.PYPI, "a==1/x.jsonl", 2)


@pytest.mark.parametrize(
    ("number", "what"), [("0", "asks for no rows"), ("abc", "not a number"), ("-1", "not a number")]
)
def test_counts_that_are_none(tmp_path, number, what):
    path = tmp_path / "a.jsonl"
    path.write_text("{}")
    assert what in failure(f"{path}#{number}").what


def test_a_wrong_path_is_never_a_hub_id(tmp_path):
    (tmp_path / "train.jsonl").write_text("{}")
    error = failure(str(tmp_path / "trian.jsonl"))
    assert "no such file" in error.what
    assert "train.jsonl" in (error.hint or "")
    assert "hf:" in (error.hint or "")
    assert "hf:org/nowhere" in (failure("org/nowhere").hint or "")


def test_sampling():
    items = list("abcde")
    drawn = sample(items, 3, seed=1)
    assert len(set(drawn)) == 3
    assert drawn == sorted(drawn) == sample(items, 3, seed=1)
    assert sample(items, None, seed=1) == items
    assert Counter(sample(items, 12, seed=1)).most_common()[-1][1] == 2
    assert sorted(Counter(sample(items, 12, seed=1)).values()) == [2, 2, 2, 3, 3]


def test_wheel_is_fetched_once_and_reused_without_the_index(index, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    folder = pypi_wheel("Tiny.Rows", "1.2.0", cache)
    assert folder == cache / "pypi" / "tiny-rows" / "1.2.0"
    spec = "pypi:tiny-rows==1.2.0/tiny_rows/data/train.jsonl"
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "gone"))
    assert resolve(spec, cache) == [folder / "tiny_rows/data/train.jsonl"]
    assert resolve("pypi:tiny-rows", cache) == [folder / "tiny_rows/data/train.jsonl"]
    assert sorted(path.name for path in folder.parent.iterdir()) == ["1.2.0"]
    assert "it holds tiny_rows" in (failure("pypi:tiny-rows/nothing", cache).hint or "")
    assert "the wheel holds no" in failure("pypi:tiny-rows/../../../x", cache).what


def test_unknown_package_or_version(index, tmp_path):
    assert "no such wheel" in failure("pypi:no-such-rows", tmp_path / "c").what
    error = failure("pypi:tiny-rows==9", tmp_path / "c")
    assert "1.2.0" in (error.hint or "")
    assert "not a package" in failure("pypi:-r==1", tmp_path / "c").what


def test_index_away(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    error = failure("pypi:tiny-rows==1.2.0", tmp_path / "c")
    assert "cannot be reached" in error.what


def test_cache_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cannot write" in failure("pypi:tiny-rows==1", tmp_path / "file").what


def test_hub_names(tmp_path):
    assert "not the name" in failure("hf:a b/c", tmp_path).what
    assert "not the name" in failure("ms:", tmp_path).what


def folder_of(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}")
    return root


def chosen(root, choice=Choice()):  # noqa: B008
    return [str(path.relative_to(root)) for path in data_files(root, choice, "hf:o/n")]


def test_splits_are_never_mixed(tmp_path):
    names = ("train-0.jsonl", "train-1.jsonl", "test.jsonl", "dataset_info.json", ".x/a.jsonl")
    folder_of(tmp_path, *names)
    assert chosen(tmp_path) == ["train-0.jsonl", "train-1.jsonl"]
    assert chosen(tmp_path, Choice(split="test")) == ["test.jsonl"]
    with pytest.raises(DataError, match='no split "dev"'):
        chosen(tmp_path, Choice(split="dev"))


def test_splits_without_train_are_an_error(tmp_path):
    with pytest.raises(DataError, match="none says train"):
        chosen(folder_of(tmp_path, "a.jsonl", "test.jsonl"))


def test_subsets_by_folder_or_name(tmp_path):
    folder_of(tmp_path, "en/train.jsonl", "zh/train.jsonl", "fr-train.jsonl")
    assert chosen(tmp_path, Choice("zh")) == ["zh/train.jsonl"]
    assert chosen(tmp_path, Choice("fr")) == ["fr-train.jsonl"]
    with pytest.raises(DataError, match='no subset "it"'):
        chosen(tmp_path, Choice("it"))


def test_a_data_card_decides(tmp_path):
    folder_of(tmp_path, "data/one.jsonl", "data/two.jsonl", "more.jsonl")
    (tmp_path / "README.md").write_text(
        "---\nconfigs:\n- config_name: a\n  data_files:\n  - split: train\n    path: data/o*\n"
        "  - split: test\n    path: data/two.jsonl\n- config_name: b\n"
        "  data_files: more.jsonl\n---\n"
    )
    assert chosen(tmp_path, Choice("a")) == ["data/one.jsonl"]
    assert chosen(tmp_path, Choice("a", "test")) == ["data/two.jsonl"]
    assert chosen(tmp_path, Choice("b")) == ["more.jsonl"]
    with pytest.raises(DataError, match="several subsets: a, b"):
        chosen(tmp_path)


def test_a_folder_without_data(tmp_path):
    assert "without data files" in failure(str(tmp_path)).what


def test_a_wheel_that_would_fill_the_disk_is_not_unpacked(index, tmp_path, monkeypatch):
    with zipfile.ZipFile(index / "bomb-1.0-py3-none-any.whl", "w", zipfile.ZIP_DEFLATED) as wheel:
        wheel.writestr("bomb/rows.jsonl", b" " * 2**22)
        info = "bomb-1.0.dist-info"
        wheel.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: bomb\nVersion: 1.0")
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
    monkeypatch.setattr(wheels, "SMALL", 2**20)
    with pytest.raises(DataError, match="that unpacks to"):
        pypi_wheel("bomb", "1.0", tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("rows.jsonl"))
