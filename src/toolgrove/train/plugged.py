"""Callbacks of transformers that users bring: registered by plug-in files or installed packages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from toolgrove.core.errors import ConfigError
from toolgrove.core.registry import Registry, load_plugin

Maker: TypeAlias = Callable[[], TrainerCallback]

callbacks: Registry[Maker] = Registry("callback", None, "toolgrove.callbacks")
"""Classes or functions that make a callback, by name: ``@callbacks.add("name")``."""


def plugged(plugins: Sequence[str], names: Sequence[str]) -> list[TrainerCallback]:
    """The callbacks that these plug-in files registered, and those of the names.

    Loads the files. ConfigError for an unknown name, or for what makes no callback.
    """
    modules = {load_plugin(path) for path in plugins}
    made: list[TrainerCallback] = []
    for name in dict.fromkeys([*callbacks.added_by(modules), *names]):
        callback = callbacks.get(name)()
        if not isinstance(callback, TrainerCallback):
            raise ConfigError(
                f'"{name}" makes no TrainerCallback but {type(callback).__name__}',
                where="callbacks",
                hint="register a class derived from transformers.TrainerCallback, or a function"
                " that returns one",
            )
        made.append(callback)
    return made


class SaveWhenStopped(TrainerCallback):
    """Saves the step at which another callback ends the run. It has to be the last one."""

    def __init__(self) -> None:
        self._saved = -1

    def on_save(
        self, _args: TrainingArguments, state: TrainerState, _control: TrainerControl, **_: Any
    ) -> None:
        """Notes which step is saved."""
        self._saved = state.global_step

    def on_step_end(
        self, _args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """A step that a callback has ended the run with is saved."""
        self._mind(state, control)

    def on_log(
        self, _args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """As at the end of the step."""
        self._mind(state, control)

    def on_evaluate(
        self, _args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """As at the end of the step."""
        self._mind(state, control)

    def on_epoch_end(
        self, _args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """As at the end of the step."""
        self._mind(state, control)

    def _mind(self, state: TrainerState, control: TrainerControl) -> None:
        if control.should_training_stop and self._saved != state.global_step:
            control.should_save = True
