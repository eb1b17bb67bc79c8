"""Fine-tuning from a cache of encoded rows: the numbers of a run without one."""

import pytest

from tests.e2e.test_sft import lines, model, row, settings, write
from toolgrove.cli.main import main
from toolgrove.train.sft import run_sft

__all__ = ["model", "row", "settings", "write"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))


def losses(result):
    return [(line["step"], line["loss"]) for line in lines(result.output_dir)]


def test_a_cache_changes_no_number(settings, tmp_path):
    short = settings.model_copy(update={"max_steps": 3})
    direct = run_sft(short)
    kept = short.model_copy(
        update={"load_from_cache_file": True, "output_dir": str(tmp_path / "kept")}
    )
    assert losses(run_sft(kept)) == losses(direct)
    words = ["encode", *settings.dataset, "--model", settings.model, "--template", "chatml"]
    assert main([*words, "--output_dir", str(tmp_path / "cache"), "--max_length", "200"]) == 0
    named = {"dataset": [], "cached_dataset": str(tmp_path / "cache"), "max_length": 200}
    taken = short.model_copy(update={**named, "output_dir": str(tmp_path / "named")})
    assert losses(run_sft(taken)) == losses(direct)
