"""TRL fine-tunes on rows that are already tokens. Run by train.py with TRL's own Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from watch import Watch, rows_of, tell


def main(job: dict[str, Any]) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    torch.set_num_threads(job["threads"])
    packed = job["pack_tokens"]
    config = SFTConfig(
        output_dir=job["out"],
        packing=bool(packed),
        eval_packing=False,
        max_length=packed or None,
        per_device_train_batch_size=1 if packed else job["rows"],
        per_device_eval_batch_size=64,
        gradient_accumulation_steps=1,
        gradient_checkpointing=False,
        max_steps=job["steps"],
        learning_rate=job["learning_rate"],
        lr_scheduler_type="constant",
        weight_decay=0.1,
        adam_beta2=0.95,
        seed=job["seed"],
        bf16=True,
        use_cpu=True,
        logging_steps=1,
        eval_strategy="steps" if job["eval"] else "no",
        eval_on_start=bool(job["eval"]),
        eval_steps=job["eval_every"],
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        model_init_kwargs={"dtype": "bfloat16"},
    )
    lora = LoraConfig(r=8, lora_alpha=32, lora_dropout=0.0, target_modules="all-linear")
    trainer = SFTTrainer(
        model=job["model"],
        args=config,
        train_dataset=Dataset.from_list(rows_of(job["train"])),
        eval_dataset=Dataset.from_list(rows_of(job["eval"])) if job["eval"] else None,
        peft_config=lora,
    )
    watch = Watch()
    watch.follow(trainer)
    trainer.train()
    tell(watch, "trl")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
