"""A small byte-level tokenizer with the control tokens of the shipped families."""

import json
import tempfile
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from toolgrove.encoding.tokenizer import Tokenizer as Loaded
from toolgrove.encoding.tokenizer import load_tokenizer

SPECIAL = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<|begin_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
]
SOFT = ["<think>", "</think>", "<tool_call>", "</tool_call>"]

_lent: list[tempfile.TemporaryDirectory[str]] = []


def small_tokenizer() -> Loaded:
    """Byte-level BPE, trained on a few words."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        special_tokens=SPECIAL,
        show_progress=False,
    )
    backend.train_from_iterator(["user assistant system tool name arguments\n\n {}:"] * 4, trainer)
    backend.add_tokens([AddedToken(token, special=False) for token in SOFT])
    _lent.append(tempfile.TemporaryDirectory(prefix="toolgrove-test-"))
    folder = Path(_lent[-1].name)
    backend.save(str(folder / "tokenizer.json"))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|im_end|>"}))
    return load_tokenizer(folder)
