"""Threads only get in the way of tiny models; OpenMP reads this when torch is imported."""

import os

from toolgrove.models.threads import prepare_torch

prepare_torch()
os.environ.setdefault("OMP_NUM_THREADS", "1")
