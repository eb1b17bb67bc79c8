"""Where the converter to GGUF comes from."""

import stat

import pytest

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.models import to_gguf


@pytest.fixture
def stranger(tmp_path, monkeypatch):
    """A command on the path that bears the converter's names; it leaves a mark when it runs."""
    home, mark = tmp_path / "bin", tmp_path / "ran"
    home.mkdir()
    for name in ("convert_hf_to_gguf.py", "convert-hf-to-gguf", "llama-convert-hf-to-gguf"):
        command = home / name
        command.write_text(f"#!/bin/sh\ntouch {mark}\n")
        command.chmod(command.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(home))
    return mark


def test_a_command_of_that_name_on_the_path_is_not_run(stranger, tmp_path, monkeypatch):
    cache = tmp_path / "cache"
    script = cache / to_gguf._PACKAGE / "convert_hf_to_gguf.py"
    script.parent.mkdir(parents=True)
    script.write_text("import sys; open(sys.argv[3], 'w').write('made by the fetched one')\n")
    monkeypatch.setattr(to_gguf, "cache_folder", lambda given, kind: cache)
    to_gguf.write_gguf(tmp_path, tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_text() == "made by the fetched one"
    assert not stranger.exists()


def test_a_given_converter_is_run_and_what_it_says_is_told(stranger, tmp_path):
    given = tmp_path / "convert_hf_to_gguf.py"
    given.write_text("raise SystemExit('no such architecture')\n")
    with pytest.raises(ModelError, match="no such architecture"):
        to_gguf.write_gguf(tmp_path, tmp_path / "model.gguf", converter=str(tmp_path))
    with pytest.raises(ConfigError, match="no convert_hf_to_gguf"):
        to_gguf.write_gguf(tmp_path, tmp_path / "x", converter=str(tmp_path / "nowhere"))
    assert not stranger.exists()


@pytest.mark.slow
def test_an_archive_with_another_checksum_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(to_gguf, "_SHA256", "0" * 64)
    with pytest.raises(ModelError, match=r"could not be fetched"):
        to_gguf._downloaded(tmp_path)
