"""Many clients at once, for a while: no error, and no memory that grows."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "load.py"


@pytest.mark.slow
def test_twenty_four_clients_find_no_error_and_no_leak():
    words = [sys.executable, str(SCRIPT), "--clients", "24", "--duration_s", "20"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert min(json.loads(done.stdout)["asked"].values()) > 5
