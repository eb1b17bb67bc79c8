"""``python -m toolgrove`` is the command ``toolgrove``."""

from __future__ import annotations

import sys

from toolgrove.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
