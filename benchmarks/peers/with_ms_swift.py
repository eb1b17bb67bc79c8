"""ms-swift's stage of sft before training: rows read, converted, every one encoded. Run by data.py
with ms-swift's own Python; prints {"rows", "cpu_s", "tokens", "version"}."""

from __future__ import annotations

import json
import logging
import sys
from importlib.metadata import version

from clock import cpu_s, settled_cpu_s


def main(folder: str, data: str) -> None:
    from swift.dataset import EncodePreprocessor, load_dataset
    from swift.model import get_processor
    from swift.template import get_template

    logging.disable(logging.WARNING)
    processor = get_processor(folder, model_type="qwen3")
    template = get_template(processor, template_type="qwen3", agent_template="hermes")
    template.set_mode("train")
    begun = settled_cpu_s()
    rows, _ = load_dataset([data], num_proc=1, load_from_cache_file=False)
    encoded = EncodePreprocessor(template=template)(rows, num_proc=1, load_from_cache_file=False)
    spent = cpu_s() - begun
    tokens = sum(len(ids) for ids in encoded["input_ids"])
    found = {"rows": len(encoded), "cpu_s": spent, "tokens": tokens}
    print("\n" + json.dumps({**found, "version": version("ms-swift")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
