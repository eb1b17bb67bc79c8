"""Random models of about a million parameters with a small real tokenizer, for tests."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from toolgrove.core.errors import ConfigError

FAMILIES = ("llama", "qwen3", "gemma3", "gpt_oss")
"""Kinds of models: the last two have layers that see 24 tokens only; gpt_oss has experts and
attention sinks."""

CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content']"
    " + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}"
    "{{ '<|im_start|>assistant\n' }}{% endif %}"
)
_CONTROL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_TEXTS = (
    "You are a function calling assistant. You may call one or more functions to assist the user.",
    'For each function call return a json object: {"name": "get_weather", "arguments": {"q": ""}}',
    "<tool_call>\n</tool_call>\n<tools>\n</tools>\n<tool_response>\n</tool_response>\n<think>\n",
    '{"type": "function", "function": {"name": "", "description": "", "parameters": {"type": ""}}}',
    '"object", "properties": {"required": ["location", "unit"], "enum": ["celsius"]}, "string"',
    "What is the weather in Paris tomorrow? The temperature will be 21 degrees. Thank you!",
    "system\nuser\nassistant\ntool\n",
)


def tiny_model(
    folder: Path, family: str = "llama", *, seed: int = 0, dtype: str = "float32"
) -> Path:
    """Writes a model folder: weights, tokenizer, template. Families: ``FAMILIES``.

    The same arguments give the same weights. The tokenizer is a byte-level BPE of 512 tokens with
    ChatML's control tokens at ids 0 to 2.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from toolgrove.models.quiet import quiet_transformers

    tiny_tokenizer(folder)
    config = _config(family)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: Any = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
    with quiet_transformers():
        model.save_pretrained(folder)
    return folder


def tiny_tokenizer(folder: Path) -> Path:
    """Writes ``tokenizer.json`` and ``tokenizer_config.json`` of a small byte-level BPE."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        min_frequency=1,
        special_tokens=list(_CONTROL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_TEXTS * 2, trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|im_start|>",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "clean_up_tokenization_spaces": False,
        "model_max_length": 2048,
        "chat_template": CHATML,
    }
    text = json.dumps(settings, indent=2, ensure_ascii=False)
    (folder / "tokenizer_config.json").write_text(text, encoding="utf-8")
    return folder


def _config(family: str) -> Any:
    from transformers import Gemma3TextConfig, GptOssConfig, LlamaConfig, Qwen3Config

    shape: dict[str, Any] = {
        "vocab_size": 512,
        "hidden_size": 128,
        "intermediate_size": 384,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 2048,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 0,
        "initializer_range": 0.1,
    }
    if family == "llama":
        return LlamaConfig(**shape, tie_word_embeddings=True)
    if family == "qwen3":
        return Qwen3Config(**shape, tie_word_embeddings=False)
    sliding = {"sliding_window": 24, "layer_types": ["sliding_attention", "full_attention"] * 2}
    if family == "gemma3":
        return Gemma3TextConfig(**shape, **sliding, query_pre_attn_scalar=32)
    if family == "gpt_oss":
        few = {"num_local_experts": 4, "num_experts_per_tok": 2}
        return GptOssConfig(**shape, **few, **sliding)
    raise ConfigError(f'no tiny model of the family "{family}"', hint=" or ".join(FAMILIES))
