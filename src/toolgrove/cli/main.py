"""The command ``toolgrove``: finds the command asked for, runs it, tells errors plainly."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

import toolgrove
from toolgrove.core.errors import ConfigError, ToolgroveError, did_you_mean


class Command(NamedTuple):
    """A command: its sentence, the settings class in its module, the field that words fill.

    The module ``toolgrove.cli.<name>`` holds the class and ``run(settings) -> exit code``.
    """

    help: str
    settings: str
    positional: str | None = None


ABOUT = "Turn open language models into reliable tool-calling agents."
COMMANDS = {
    "demo": Command("Fine-tune a real model into calling tools; report.", "DemoSettings"),
    "sft": Command("Fine-tune a model on conversations.", "SftCommand", "dataset"),
    "pt": Command("Train a model on plain text.", "PtCommand", "dataset"),
    "infer": Command(
        "Chat with an agent whose tools run, or answer a data set.", "InferSettings", "dataset"
    ),
    "deploy": Command("Serve a model over OpenAI's API.", "DeploySettings"),
    "export": Command("Write a model for other programs, checked.", "ExportSettings", "dataset"),
    "eval": Command("Measure how well a model calls tools.", "EvalCommand"),
    "check": Command("Say what is wrong with data, and mend it.", "CheckSettings", "dataset"),
    "render": Command("Write rows as a model reads them.", "RenderSettings", "dataset"),
    "encode": Command("Turn rows into token ids and weights.", "EncodeCommand", "dataset"),
    "convert": Command("Write rows in another format.", "ConvertSettings", "dataset"),
    "parse": Command("Read a model's reply: text, thinking, calls.", "ParseSettings", "reply"),
    "prove": Command("Show that training, serving and the model agree.", "ProveSettings"),
    "templates": Command("List the templates and what each can do.", "TemplatesSettings"),
    "show": Command("Show tokens and weights in colour.", "ShowSettings", "dataset"),
}

EXTRAS = {
    "accelerate": "train",
    "bitsandbytes": "quant",
    "datasets": "train",
    "docstring_parser": "agent",
    "fastapi": "serve",
    "gguf": "train",
    "matplotlib": "train",
    "mcp": "agent",
    "openvino_genai": "openvino",
    "peft": "train",
    "prometheus_client": "serve",
    "prompt_toolkit": "agent",
    "pyarrow": "train",
    "safetensors": "train",
    "sentencepiece": "export",
    "tensorboard": "train",
    "torch": "train",
    "torchao": "quant-cpu",
    "transformers": "train",
    "uvicorn": "serve",
    "vllm": "vllm",
    "xgrammar": "grammar",
}
"""Which extra brings a library that a small install lacks."""

THEIR_DISK = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
)


def main(words: Sequence[str] | None = None) -> int:
    """Runs one command; returns 0, 2 for the user's mistakes, 130 for Ctrl-C."""
    _log_to_stderr()
    try:
        code = _dispatch(list(sys.argv[1:] if words is None else words))
        sys.stdout.flush()
        return code
    except ToolgroveError as error:
        return _tell(error)
    except ModuleNotFoundError as error:
        extra = EXTRAS.get((error.name or "").partition(".")[0])
        if extra is None:
            raise
        return _tell(_lacks(str(error.name), extra))
    except BrokenPipeError:
        _drop_stdout()
        return 0
    except OSError as error:
        if error.errno not in THEIR_DISK:
            raise
        _drop_stdout()
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check it"
        return _tell(ConfigError(f"{error.strerror}: {error.filename or 'the disk'}", hint=hint))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    name = words[0].replace("_", "-") if words and not words[0].startswith("-") else None
    before_dashes = words[: words.index("--")] if "--" in words else words
    if not words or "--help" in before_dashes or "-h" in before_dashes:
        print(_help(name))
        return 0
    if words == ["--version"]:
        print(toolgrove.__version__)
        return 0
    if name not in COMMANDS:
        raise _unknown_command(words[0])
    return _run(name, words[1:])


def _help(name: str | None) -> str:
    from toolgrove.cli.help import command_help, root_help

    if name is None:
        return root_help(ABOUT, {other: command.help for other, command in COMMANDS.items()})
    if name not in COMMANDS:
        raise _unknown_command(name)
    from toolgrove.cli.flags import flags_of

    command = COMMANDS[name]
    return command_help(name, command.help, command.positional, flags_of(_settings(name)))


def _unknown_command(word: str) -> ConfigError:
    known = f"commands: {', '.join(COMMANDS)}"
    if word.startswith("-"):
        return ConfigError(f"unknown flag {word}", hint=f"first a command, then flags; {known}")
    near = did_you_mean(word, COMMANDS)
    return ConfigError(f'unknown command "{word}"', hint=f"{near} {known}" if near else known)


def _run(name: str, words: list[str]) -> int:
    """Lets cyclopts match the words with the command's flags, then runs it."""
    from cyclopts import App
    from cyclopts.exceptions import CycloptsError

    from toolgrove.cli.flags import flags_of, function_of, spell

    model = _settings(name)
    flags = flags_of(model)
    app = App(
        name=f"toolgrove {name}",
        help_flags=[],
        version_flags=[],
        suppress_keyboard_interrupt=False,
    )
    app.default(function_of(model, COMMANDS[name].positional, lambda given: _act(name, given)))
    try:
        result = app(
            spell(words, flags),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        raise _flag_error(error, name, [f"--{flag}" for flag in flags]) from error
    return int(result)


def _act(name: str, flags: dict[str, Any]) -> int:
    """Settings from the recipe and the flags, then the plug-ins, then the command."""
    from toolgrove.config.places import read_document
    from toolgrove.config.settings import CommandSettings, resolve
    from toolgrove.core.registry import load_plugin, plugin_error
    from toolgrove.models.threads import prepare_torch

    prepare_torch()
    path = flags.pop("config", None)
    settings = resolve(_settings(name), read_document(path) if path else None, flags)
    if isinstance(settings, CommandSettings):
        for plugin in settings.external_plugins:
            load_plugin(plugin)
    try:
        return importlib.import_module(f"toolgrove.cli.{name}").run(settings)
    except (ToolgroveError, BrokenPipeError):
        raise
    except Exception as error:
        told = plugin_error(error)
        if told is None:
            raise
        raise told from error


def _settings(name: str) -> Any:
    return getattr(importlib.import_module(f"toolgrove.cli.{name}"), COMMANDS[name].settings)


def _flag_error(error: Any, name: str, known: list[str]) -> ConfigError:
    """The error of the flag reader as one of ours, with the nearest name."""
    from cyclopts.exceptions import UnknownOptionError, UnusedCliTokensError

    from toolgrove.config.names import GONE

    see = f"see: toolgrove {name} --help"
    if isinstance(error, UnknownOptionError):
        written = (error.token.keyword or error.token.value or "").partition("=")[0]
        name = written.lstrip("-").replace("-", "_")
        hint = GONE.get(name) or did_you_mean(f"--{name}", known) or see
        return ConfigError(f"unknown flag {written}", hint=hint)
    if isinstance(error, UnusedCliTokensError):
        words = " ".join(error.unused_tokens or [])
        return ConfigError(f"not understood: {words}", hint=see)
    error.verbose = False
    return ConfigError(str(error), hint=see)


def _lacks(module: str, extra: str) -> ConfigError:
    return ConfigError(
        f'"{module}" is not installed', hint=f"pip install 'toolgrove[{extra}]' brings it"
    )


def _drop_stdout() -> None:
    """What stdout still holds cannot be written: closing it at exit must not try again."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _tell(error: ToolgroveError) -> int:
    sys.stdout.flush()
    red, plain = ("\033[1;31m", "\033[0m") if sys.stderr.isatty() else ("", "")
    print(f"{red}error:{plain} {error}", file=sys.stderr)
    return 2


class _ToStderr(logging.Handler):
    """Writes records to whatever stderr is at that moment."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr)


def _log_to_stderr() -> None:
    # peft imports it wherever it is installed, and it tells of kernels that nobody asked for
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    logger = logging.getLogger("toolgrove")
    if not any(isinstance(handler, _ToStderr) for handler in logger.handlers):
        logger.addHandler(_ToStderr())
        logger.setLevel(logging.INFO)
