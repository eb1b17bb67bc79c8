"""Names for things: a folder of modules, installed entry points and plug-in files."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from toolgrove.core.errors import ConfigError, TemplateError, did_you_mean

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One registered thing and the module that registered it."""

    value: T
    module: str


class Registry(Generic[T]):
    """Maps names to things. The first look-up scans ``package``, then the entry points ``group``.

    Law: importing a module of the package, or a plug-in file, is all that it takes to register.
    """

    def __init__(self, what: str, package: str, group: str) -> None:
        self.what = what
        self._package = package
        self._group = group
        self._entries: dict[str, Entry[T]] = {}
        self._scanned = False
        self._edition = 0

    def add(self, *names: str) -> Callable[[T], T]:
        """Decorator that registers a class or function under each of the names."""

        def register(value: T) -> T:
            for name in names:
                self.put(name, value)
            return value

        return register

    def put(self, name: str, value: T, module: str = "") -> None:
        """Registers a value; the same name from another module is an error."""
        module = module or getattr(value, "__module__", "") or type(value).__module__
        old = self._entries.get(name)
        if old is not None and old.module != module:
            raise ConfigError(
                f'{self.what} "{name}" is registered twice: by {old.module} and by {module}',
                hint="give the new one another name",
            )
        self._entries[name] = Entry(value, module)
        self._edition += 1

    def names(self) -> list[str]:
        """All registered names, sorted."""
        self._scan()
        return sorted(self._entries)

    def edition(self) -> tuple[int, int]:
        """How often something was registered and how much there is: it changes with both."""
        self._scan()
        return self._edition, len(self._entries)

    def get(self, name: str) -> T:
        """The thing of that name; an unknown name is an error that tells the nearest one."""
        self._scan()
        entry = self._entries.get(name)
        if entry is None:
            near = did_you_mean(name, self._entries)
            known = ", ".join(sorted(self._entries))
            raise TemplateError(
                f'unknown {self.what} "{name}"',
                hint=f"{near} known: {known}" if near else f"known: {known}",
            )
        return entry.value

    def _scan(self) -> None:
        if self._scanned:
            return
        self._scanned = True
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=self._group):
            point.load()


def load_plugin(path: str | Path) -> None:
    """Runs a Python file so that what it registers is known; loading it twice does nothing."""
    file = Path(path).resolve()
    if not file.is_file():
        raise ConfigError(f"plug-in file not found: {path}", hint="give the path of a .py file")
    name = f"toolgrove_plugin_{file.stem}_{abs(hash(str(file))):x}"
    if name in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"not a Python file: {path}", hint="give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
