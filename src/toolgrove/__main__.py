"""``python -m toolgrove`` is the command ``toolgrove``."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress


def _run() -> int:
    code: list[int] = []

    def leave() -> None:
        for stream in (sys.stdout, sys.stderr):
            with suppress(OSError, ValueError):
                stream.flush()
        if code:
            os._exit(code[0])

    if "RANK" in os.environ:
        # the first to be registered is the last to be called: of several processes that train
        # together some abort while exit() destroys what native libraries have left
        atexit.register(leave)
    from toolgrove.cli.main import main

    code.append(main())
    return code[0]


if __name__ == "__main__":
    sys.exit(_run())
