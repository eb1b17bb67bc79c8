"""The command line as its users meet it."""

from __future__ import annotations

import errno
import resource
import subprocess
import sys
from pathlib import Path

import pytest

import toolgrove
from toolgrove.cli import main as cli
from toolgrove.cli.flags import flags_of
from toolgrove.cli.main import COMMANDS, main
from toolgrove.config.names import OLDER

PARTS = ("torch", "transformers", "peft", "accelerate", "datasets", "pyarrow")
LISTING = f"import sys; from toolgrove.cli.main import main; code = main(sys.argv[1:]); \
print([m for m in {PARTS} if m in sys.modules], file=sys.stderr); sys.exit(code)"


def run_apart(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", LISTING, *words], capture_output=True, text=True, check=False
    )


def test_help_lists_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert main([]) == 0
    assert capsys.readouterr().out == shown


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_every_flag(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    for flag, about in flags_of(cli._settings(name)).items():
        assert f"{flag} " in shown or f"{flag}\n" in shown
        assert about.help.endswith("."), f"--{flag} has no sentence"


@pytest.mark.parametrize("older", OLDER)
def test_every_older_spelling_means_a_flag(older: str) -> None:
    flags = {flag for name in COMMANDS for flag in flags_of(cli._settings(name))}
    assert flags.intersection(OLDER[older])


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == toolgrove.__version__


@pytest.mark.parametrize("words", [["--help"], ["sft", "--help"], ["demo", "--help"]])
def test_help_is_light(words: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    ran = run_apart(*words)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert ran.returncode == 0, ran.stderr
    assert ran.stderr.splitlines()[-1] == "[]"
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 0.8


def test_text_commands_never_load_torch(rows: str, tokenizer_folder: str) -> None:
    spoken = ["--template", "chatml", "--agent_template", "hermes"]
    model = ["--model", tokenizer_folder]
    for words in (
        ["render", rows, *spoken],
        ["encode", rows, *spoken, *model],
        ["show", rows, *spoken, *model],
        ["parse", "hello", *spoken],
        ["convert", rows, "--to", "react_en"],
    ):
        ran = run_apart(*words)
        assert ran.returncode == 0, ran.stderr
        assert ran.stderr.splitlines()[-1] == "[]"


def test_python_m_toolgrove_is_the_command() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "toolgrove", "--version"], capture_output=True, text=True, check=True
    )
    assert ran.stdout.strip() == toolgrove.__version__


def test_a_closed_pipe_is_no_error(rows: str) -> None:
    command = f"{sys.executable} -m toolgrove render {rows}#5000 --template chatml --json | head -1"
    ran = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True
    )
    assert "Traceback" not in ran.stderr
    assert "BrokenPipe" not in ran.stderr


def raising(error: BaseException) -> object:
    def dispatch(_words: list[str]) -> int:
        raise error

    return dispatch


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (KeyboardInterrupt(), 130, "stopped"),
        (OSError(errno.ENOSPC, "No space left on device", "out.bin"), 2, "free some space"),
        (PermissionError(errno.EACCES, "Permission denied", "out"), 2, "Permission denied: out"),
        (ModuleNotFoundError("no", name="peft.tuners"), 2, "toolgrove[train]"),
    ],
)
def test_what_the_machine_lacks_is_told_plainly(
    error: BaseException,
    code: int,
    says: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(cli, "_dispatch", raising(error))
    assert main(["sft"]) == code
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "error", [ValueError("bug"), OSError(errno.EIO, "bad disk"), ModuleNotFoundError(name="ours")]
)
def test_our_own_faults_are_not_hidden(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "_dispatch", raising(error))
    with pytest.raises(type(error)):
        main(["sft"])


def test_a_plugin_brings_its_own_template(
    tmp_path: Path, rows: str, capsys: pytest.CaptureFixture[str]
) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from toolgrove.templates.agent.hermes import Hermes\n"
        "from toolgrove.templates.base import agent_registry\n"
        "@agent_registry.add('mine')\n"
        "class Mine(Hermes):\n"
        "    pass\n"
    )
    words = ["render", rows, "--template", "chatml", "--agent_template", "mine"]
    assert main(words) == 2
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"external_plugins: [{plugin}]\n")
    for way in (["--plugin", str(plugin)], ["-c", str(recipe)]):
        assert main([*words, *way]) == 0
        assert "<tool_call>" in capsys.readouterr().out
