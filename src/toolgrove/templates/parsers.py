"""What other servers call the ways of writing calls and thinking that dialects have."""

from __future__ import annotations

from typing import NamedTuple

from toolgrove.templates.dialect import Dialect


class Names(NamedTuple):
    """A parser's name in vLLM 0.33 and in SGLang; None where there is no such parser."""

    vllm: str | None
    sglang: str | None = None


_CALLS = {
    "command_r7b": Names("cohere_command3"),
    "deepseek_v3": Names("deepseek_v3", "deepseekv3"),
    "deepseek_v3_1": Names("deepseek_v31", "deepseekv31"),
    "deepseek_v3_2": Names("deepseek_v32", "deepseekv32"),
    "deepseek_v4": Names("deepseek_v4", "deepseekv4"),
    "deepseek_v41": Names("deepseek_v41"),
    "functiongemma": Names("functiongemma"),
    "gemma4": Names("gemma4", "gemma4"),
    "glm4_5": Names("glm45", "glm45"),
    "glm4_7": Names("glm47", "glm47"),
    "glm5_1": Names("glm47", "glm47"),
    "gpt_oss": Names("openai", "gpt-oss"),
    "granite": Names("granite"),
    "granite4": Names("granite4"),
    "hermes": Names("hermes", "hermes"),
    "hermes2_pro": Names("hermes", "hermes"),
    "hunyuan_hermes": Names("hunyuan_a13b", "hunyuan"),
    "hy_v3": Names("hy_v3"),
    "kimi_k2": Names("kimi_k2", "kimi_k2"),
    "kimi_k25": Names("kimi_k2", "kimi_k2"),
    "kimi_k3": Names("kimi_k3", "kimi_k3"),
    "lfm2": Names("lfm2", "lfm2"),
    "ling3": Names("ling3", "ling3"),
    "llama3": Names("llama3_json", "llama3"),
    "llama4": Names("llama4_json"),
    "minicpm5": Names("minicpm5", "minicpm5"),
    "minimax_m2": Names("minimax_m2", "minimax-m2"),
    "minimax_m3": Names("minimax_m3", "minimax-m3"),
    "mistral": Names("mistral", "mistral"),
    "mistral_v11": Names("mistral", "mistral"),
    "nemotron3": Names("qwen3_coder", "qwen3_coder"),
    "phi4_mini": Names("phi4_mini_json"),
    "pythonic": Names("pythonic", "pythonic"),
    "qwen3_5": Names("qwen3_coder", "qwen3_coder"),
    "qwen3_6": Names("qwen3_coder", "qwen3_coder"),
    "qwen3_coder": Names("qwen3_coder", "qwen3_coder"),
    "seed_oss": Names("seed_oss"),
    "smollm3": Names("hermes", "hermes"),
    "spark2_5": Names(None, "spark25"),
    "youtu": Names("hermes", "hermes"),
}
"""Agent template: the names of the parsers that read what it writes. Sources: the registrations of
vLLM 0.33.0 (``--tool-call-parser``) and SGLang's ``function_call_parser.py``."""

_REASONING = {
    "deepseek_r1": Names("deepseek_r1", "deepseek-r1"),
    "deepseek_v3_1": Names("deepseek_v3", "deepseek-v3"),
    "glm4_5": Names("glm45", "glm45"),
    "gpt_oss": Names("openai_gptoss", "gpt-oss"),
    "minimax_m2": Names("minimax_m2", "minimax"),
    "qwen3": Names("qwen3", "qwen3"),
    "qwen3_thinking": Names("deepseek_r1", "qwen3-thinking"),
    "qwq_32b": Names("deepseek_r1", "deepseek-r1"),
    "seed_oss": Names("seed_oss"),
}
"""Chat template: the names of the parsers that take its thinking out of a reply."""

_NONE = Names(None, None)


def call_parser(dialect: Dialect) -> Names:
    """The parsers that read the dialect's calls."""
    return _CALLS.get(dialect.agent_name or "", _NONE)


def reasoning_parser(dialect: Dialect) -> Names:
    """The parsers that take its thinking out of a reply."""
    return _REASONING.get(dialect.chat_name, _NONE)
