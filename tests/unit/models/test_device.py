"""Devices, number formats, threads."""

import os
import subprocess
import sys

import pytest
import torch

from toolgrove.core.errors import ConfigError
from toolgrove.models import device
from toolgrove.models.threads import prepare_torch, usable_cores


def test_what_is_asked_for_is_given():
    placement = device.place("float32", torch.device("cpu"))
    assert placement.dtype == torch.float32
    with pytest.raises(ConfigError, match="float31"):
        device.place("float31")


@pytest.mark.parametrize(("bfloat16", "expected"), [(1.0, "bfloat16"), (9.9, "float32")])
def test_the_probe_decides_on_a_cpu(monkeypatch, bfloat16, expected):
    seconds = {"bfloat16": bfloat16, "float32": 10.0}
    monkeypatch.setattr(device, "matmul_seconds", seconds.__getitem__)
    placement = device.place("auto", torch.device("cpu"))
    assert placement.dtype == getattr(torch, expected)


def test_the_probe_measures():
    assert 0 < device.matmul_seconds("float32") < 5


def test_openmp_is_quiet_only_when_asked_before_torch():
    code = (
        "import os, sys\n"
        "from toolgrove.models.threads import prepare_torch\n"
        "assert 'torch' not in sys.modules\n"
        "assert prepare_torch()\n"
        "assert os.environ['OMP_WAIT_POLICY'] == 'passive'\n"
        "assert os.environ['GOMP_SPINCOUNT'] == '7'\n"
        "assert os.environ['THP_MEM_ALLOC_ENABLE'] == '1'\n"
    )
    env = {**os.environ, "GOMP_SPINCOUNT": "7"}
    env.pop("OMP_WAIT_POLICY", None)
    subprocess.run([sys.executable, "-c", code], check=True, env=env)
    assert not prepare_torch()
    assert usable_cores() >= 1
