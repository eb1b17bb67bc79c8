"""The command ``toolgrove``: finds the command asked for, runs it, tells errors plainly."""

from __future__ import annotations

import errno
import importlib
import logging
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import toolgrove
from toolgrove.core.errors import ConfigError, ToolgroveError, did_you_mean

if TYPE_CHECKING:
    from cyclopts import App


class Command(NamedTuple):
    """A command: its sentence, the settings class in its module, the field that words fill.

    The module ``toolgrove.cli.<name>`` holds the class and ``run(settings) -> exit code``.
    """

    help: str
    settings: str
    positional: str | None = None


COMMANDS = {
    "demo": Command("Fine-tune a real model into calling tools; report.", "DemoSettings"),
    "sft": Command("Fine-tune a model on conversations.", "SftCommand", "dataset"),
    "infer": Command("Chat with a model, its tool calls shown as calls.", "InferSettings"),
    "eval": Command("Measure how well a model calls tools.", "EvalCommand"),
    "render": Command("Write rows as a model reads them.", "RenderSettings", "dataset"),
    "encode": Command("Turn rows into token ids and weights.", "EncodeCommand", "dataset"),
    "parse": Command("Read a model's reply: text, thinking, calls.", "ParseSettings", "reply"),
    "show": Command("Show tokens and weights in colour.", "ShowSettings", "dataset"),
}

EXTRAS = {
    "accelerate": "train",
    "datasets": "train",
    "gguf": "train",
    "matplotlib": "train",
    "peft": "train",
    "pyarrow": "train",
    "safetensors": "train",
    "torch": "train",
    "transformers": "train",
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
        # The reader went away: nothing more can be said, and closing stdout must not try.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in THEIR_DISK:
            raise
        hint = "free some space" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "check it"
        return _tell(ConfigError(f"{error.strerror}: {error.filename or 'the disk'}", hint=hint))
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130


def _dispatch(words: list[str]) -> int:
    from cyclopts.exceptions import CycloptsError

    asked = next((word for word in words if not word.startswith("-")), None)
    first = words[0] if words else ""
    name = asked.replace("_", "-") if asked else None
    app = _app(name if name in COMMANDS else None)
    if name in COMMANDS and asked == first:
        words = [name, *_spelled(words[1:], name)]
    try:
        result = app(words, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        raise _flag_error(error, name) from error
    return result if isinstance(result, int) else 0


def _app(name: str | None) -> App:
    """The app with all commands; only the one asked for is imported."""
    from cyclopts import App

    app = App(
        name="toolgrove",
        help="Turn open language models into reliable tool-calling agents.",
        version=toolgrove.__version__,
    )
    for other, command in COMMANDS.items():
        if other == name:
            app.command(_function(other), name=other, help=command.help)
        else:
            app.command(f"toolgrove.cli.{other}:run", name=other, help=command.help)
    return app


def _settings(name: str) -> Any:
    return getattr(importlib.import_module(f"toolgrove.cli.{name}"), COMMANDS[name].settings)


def _function(name: str) -> Any:
    from toolgrove.cli.flags import function_of
    from toolgrove.config.places import read_document
    from toolgrove.config.settings import resolve

    model = _settings(name)

    def act(flags: dict[str, Any]) -> int:
        from toolgrove.core.registry import load_plugin

        path = flags.pop("config", None)
        recipe = read_document(path) if path else None
        if "external_plugins" not in model.model_fields:
            plugins = flags.pop("external_plugins", [])
        else:
            held = recipe.values.get("external_plugins", []) if recipe else []
            plugins = flags.get("external_plugins", held)
        for plugin in [plugins] if isinstance(plugins, str) else plugins:
            load_plugin(plugin)
        settings = resolve(model, recipe, flags)
        return importlib.import_module(f"toolgrove.cli.{name}").run(settings)

    return function_of(model, COMMANDS[name].positional, act)


def _spelled(words: list[str], name: str) -> list[str]:
    from toolgrove.cli.flags import flags_of, spell

    return spell(words, flags_of(_settings(name)))


def _flag_error(error: Any, name: str | None) -> ConfigError:
    """The error of the flag reader as one of ours, with the nearest name."""
    from cyclopts.exceptions import UnknownCommandError, UnknownOptionError

    from toolgrove.cli.flags import flags_of

    if isinstance(error, UnknownCommandError):
        asked = (error.unused_tokens or [""])[0]
        known = f"commands: {', '.join(COMMANDS)}"
        if asked.startswith("-"):
            return ConfigError(
                f"unknown flag {asked}", hint=f"first a command, then its flags; {known}"
            )
        near = did_you_mean(asked, COMMANDS)
        return ConfigError(f'unknown command "{asked}"', hint=f"{near} {known}" if near else known)
    if isinstance(error, UnknownOptionError):
        written = (error.token.keyword or error.token.value or "").partition("=")[0]
        flags = flags_of(_settings(name)) if name in COMMANDS else ()
        known = [f"--{flag}" for flag in flags]
        near = did_you_mean(written.replace("-", "_").replace("__", "--", 1), known)
        see = f"see: toolgrove {name} --help" if name else "see: toolgrove --help"
        return ConfigError(f"unknown flag {written}", hint=near or see)
    error.verbose = False
    return ConfigError(str(error), hint=f"see: toolgrove {name or ''} --help")


def _lacks(module: str, extra: str) -> ConfigError:
    return ConfigError(
        f'"{module}" is not installed', hint=f"pip install 'toolgrove[{extra}]' brings it"
    )


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
    logger = logging.getLogger("toolgrove")
    if not any(isinstance(handler, _ToStderr) for handler in logger.handlers):
        logger.addHandler(_ToStderr())
        logger.setLevel(logging.INFO)
