"""A process that was started ends when the one that started it was killed."""

import multiprocessing
import subprocess
import sys
import threading
import time

import psutil

from toolgrove.core.orphans import end_with_parent

PARENT = """
import multiprocessing, time
from toolgrove.core.orphans import end_with_parent

def child():
    end_with_parent()
    time.sleep(600)

if __name__ == "__main__":
    process = multiprocessing.get_context("spawn").Process(target=child)
    process.start()
    print(process.pid, flush=True)
    time.sleep(600)
"""


def test_a_child_ends_with_its_killed_parent(tmp_path):
    script = tmp_path / "parent.py"
    script.write_text(PARENT, encoding="utf-8")
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    child = psutil.Process(int(parent.stdout.readline()))
    deadline = time.monotonic() + 60
    while child.num_threads() < 2 and time.monotonic() < deadline:
        time.sleep(0.05)  # it watches from then on
    parent.kill()
    parent.wait()
    parent.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=30)
    assert not [one for one in alive if one.status() != psutil.STATUS_ZOMBIE]


def test_a_process_without_a_parent_goes_on():
    assert multiprocessing.parent_process() is None
    watching = threading.active_count()
    end_with_parent()
    assert threading.active_count() == watching
