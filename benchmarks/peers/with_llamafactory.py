"""LLaMA-Factory's stage of sft before training. Run by data.py with LLaMA-Factory's own Python;
prints {"rows", "cpu_s", "tokens", "version"}."""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from clock import cpu_s, settled_cpu_s


def main(model: str, data: str) -> None:
    from llamafactory.data import get_dataset, get_template_and_fix_tokenizer
    from llamafactory.hparams import get_train_args
    from llamafactory.model import load_tokenizer

    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as scratch:
        columns = {"messages": "conversations", "tools": "tools"}
        info = {"file_name": data, "formatting": "sharegpt", "columns": columns}
        (Path(scratch) / "dataset_info.json").write_text(json.dumps({"rows": info}))
        model_args, data_args, training, _, _ = get_train_args(
            {
                "stage": "sft",
                "do_train": True,
                "model_name_or_path": model,
                "dataset": "rows",
                "dataset_dir": scratch,
                "template": "qwen3",
                "cutoff_len": 32768,
                "overwrite_cache": True,
                "finetuning_type": "lora",
                "output_dir": scratch,
                "report_to": "none",
            }
        )
        tokenizer = load_tokenizer(model_args)["tokenizer"]
        template = get_template_and_fix_tokenizer(tokenizer, data_args)
        begun = settled_cpu_s()
        found = get_dataset(
            template, model_args, data_args, training, stage="sft", tokenizer=tokenizer
        )
        rows = found["train_dataset"]
        spent = cpu_s() - begun
        tokens = sum(len(ids) for ids in rows["input_ids"])
    counted = {"rows": len(rows), "cpu_s": spent, "tokens": tokens}
    print("\n" + json.dumps({**counted, "version": version("llamafactory")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
