"""Names for things: a folder of modules, installed entry points and plug-in files."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Generic, TypeVar

from toolgrove.core.errors import ConfigError, TemplateError, ToolgroveError, did_you_mean

T = TypeVar("T")

_PLUGIN = "toolgrove_plugin_"


@dataclass(frozen=True, slots=True)
class Entry(Generic[T]):
    """One registered thing and the module that registered it."""

    value: T
    module: str


class Registry(Generic[T]):
    """Maps names to things. The first look-up scans ``package``, then the entry points ``group``.

    Law: importing a module of the package, or a plug-in file, is all that it takes to register.
    A registry without a package holds only what others bring.
    """

    def __init__(self, what: str, package: str | None, group: str) -> None:
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

    def added_by(self, modules: Collection[str]) -> list[str]:
        """The names that these modules registered, in the order in which they did."""
        return [name for name, entry in self._entries.items() if entry.module in modules]

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
        if self._package is not None:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
        for point in entry_points(group=self._group):
            point.load()


def load_plugin(path: str | Path) -> str:
    """Runs a Python file so that what it registers is known; loading it twice does nothing.

    Returns the name of its module. ConfigError tells file and line of what it raises.
    """
    file = Path(path).expanduser().resolve()
    if not file.is_file():
        raise ConfigError(f"plug-in file not found: {path}", hint="give the path of a .py file")
    name = f"{_PLUGIN}{file.stem}_{abs(hash(str(file))):x}"
    if name in sys.modules:
        return name
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"not a Python file: {path}", hint="give the path of a .py file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception) or isinstance(error, ToolgroveError):
            raise
        raise _told(error, _line_in(error, {str(file)}) or str(file)) from error
    return name


def plugin_error(error: Exception) -> ConfigError | None:
    """An error that code of a plug-in file raised, told with file and line; None for others.

    What a library raises for a plug-in's call counts as the plug-in's.
    """
    files = {str(m.__file__) for name, m in sys.modules.items() if name.startswith(_PLUGIN)}
    place = _line_in(error, files) if files else None
    return _told(error, place) if place else None


def _told(error: Exception, where: str) -> ConfigError:
    what = f"{type(error).__name__}: {error}".rstrip(": ")
    return ConfigError(f"the plug-in raised {what}", where=where, hint="mend the plug-in file")


def _line_in(error: Exception, files: Collection[str]) -> str | None:
    """The innermost line of these files that the error came through."""
    if isinstance(error, SyntaxError) and error.filename in files:
        return f"{error.filename}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{frame.filename}:{frame.lineno}" for frame in frames if frame.filename in files]
    return lines[-1] if lines else None
