"""LLaMA-Factory fine-tunes on rows that are already tokens. Run by train.py with its own Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from watch import Watch, rows_of, tell


def main(job: dict[str, Any]) -> None:
    import torch
    from datasets import Dataset, DatasetDict
    from llamafactory.train import tuner
    from llamafactory.train.sft import workflow

    torch.set_num_threads(job["threads"])
    watch = Watch()
    sets = {"train": job["train"], "validation": job["eval"]}
    tokens = {
        name: Dataset.from_list(
            [{**row, "attention_mask": [1] * len(row["input_ids"])} for row in rows_of(file)]
        )
        for name, file in sets.items()
        if file
    }
    folder = f"{job['out']}/tokens"
    DatasetDict(tokens).save_to_disk(folder)

    class Watched(workflow.CustomSeq2SeqTrainer):
        def __init__(self, *given: Any, **named: Any) -> None:
            super().__init__(*given, **named)
            watch.follow(self)

    workflow.CustomSeq2SeqTrainer = Watched
    tuner.run_exp(
        {
            "stage": "sft",
            "do_train": True,
            "model_name_or_path": job["model"],
            "finetuning_type": "lora",
            "lora_rank": 8,
            "lora_alpha": 32,
            "lora_dropout": 0.0,
            "lora_target": "all",
            "tokenized_path": folder,
            "dataset": "rows",  # has to be named, and is not read
            "eval_dataset": "rows" if job["eval"] else None,
            "template": "empty",
            "cutoff_len": 32768,
            "output_dir": job["out"],
            "overwrite_output_dir": True,
            "per_device_train_batch_size": job["rows"],
            "per_device_eval_batch_size": 64,
            "gradient_accumulation_steps": 1,
            "disable_gradient_checkpointing": True,
            "max_steps": job["steps"],
            "learning_rate": job["learning_rate"],
            "lr_scheduler_type": "constant",
            "weight_decay": 0.1,
            "adam_beta2": 0.95,
            "seed": job["seed"],
            "bf16": True,
            "use_cpu": True,
            "logging_steps": 1,
            "eval_strategy": "steps" if job["eval"] else "no",
            "eval_on_start": bool(job["eval"]),
            "eval_steps": job["eval_every"],
            "save_strategy": "no",
            "report_to": "none",
            "disable_tqdm": True,
        }
    )
    tell(watch, "llamafactory")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
