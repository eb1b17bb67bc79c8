"""EvalScope's own figures for steps of ToolBench: JSON lines in, one line of figures for each."""

import json
import sys

from evalscope.benchmarks.tool_bench.utils import calculate_metrics

for line in sys.stdin:
    print(json.dumps(calculate_metrics(json.loads(line))), flush=True)
