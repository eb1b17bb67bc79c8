"""Threads only get in the way of tiny models; OpenMP reads this when torch is imported."""

import os

from toolgrove.models.threads import quiet_openmp

quiet_openmp()
os.environ.setdefault("OMP_NUM_THREADS", "1")
