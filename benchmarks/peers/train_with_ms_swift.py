"""ms-swift fine-tunes on rows that are already tokens. Run by train.py with its own Python."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from watch import Watch, rows_of, tell


def main(job: dict[str, Any]) -> None:
    import torch
    from datasets import Dataset
    from swift.arguments import SftArguments
    from swift.pipelines.train.sft import SwiftSft

    torch.set_num_threads(job["threads"])
    watch = Watch()

    class Watched(SwiftSft):
        def _prepare_dataset(self) -> list[Any]:
            files = [job["train"], job["eval"]]
            return [Dataset.from_list(rows_of(file)) if file else None for file in files]

        def train(self, trainer: Any) -> Any:
            watch.follow(trainer)
            return super().train(trainer)

    Watched(
        SftArguments(
            model=job["model"],
            model_type="llama",
            template="dummy",
            dataset=[job["train"]],  # named only, as is the next: _prepare_dataset reads them
            val_dataset=[job["eval"]] if job["eval"] else [],
            tuner_type="lora",
            lora_rank=8,
            lora_alpha=32,
            lora_dropout=0.0,
            target_modules=["all-linear"],
            torch_dtype="bfloat16",
            output_dir=job["out"],
            add_version=False,
            per_device_train_batch_size=job["rows"],
            per_device_eval_batch_size=64,
            gradient_accumulation_steps=1,
            gradient_checkpointing=False,
            max_steps=job["steps"],
            learning_rate=job["learning_rate"],
            lr_scheduler_type="constant",
            warmup_ratio=0.0,
            weight_decay=0.1,
            adam_beta2=0.95,
            seed=job["seed"],
            use_cpu=True,
            logging_steps=1,
            eval_strategy="steps" if job["eval"] else "no",
            eval_on_start=bool(job["eval"]),
            eval_steps=job["eval_every"],
            save_strategy="no",
            report_to=["none"],
            dataloader_num_workers=0,
        )
    ).main()
    tell(watch, "ms-swift")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text()))
