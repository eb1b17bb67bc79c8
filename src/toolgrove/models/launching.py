"""The lines that start other servers on an exported model, their parsers named for its dialect."""

from __future__ import annotations

import shlex
from pathlib import Path

from toolgrove.core.errors import ConfigError
from toolgrove.models.exporting import CHAT_TEMPLATE
from toolgrove.templates.dialect import Dialect
from toolgrove.templates.parsers import call_parser, reasoning_parser


def launch_line(server: str, folder: Path, dialect: Dialect) -> str:
    """The line for ``vllm`` or ``sglang``; ConfigError where that has no parser for the calls."""
    at = 0 if server == "vllm" else 1
    calls, thinking = call_parser(dialect)[at], reasoning_parser(dialect)[at]
    if calls is None:
        raise ConfigError(
            f"{server} has no parser for calls as {dialect.agent_name or 'this template'} writes",
            hint=f"toolgrove deploy --model {folder} --infer_backend vllm reads them",
        )
    template = folder / CHAT_TEMPLATE
    words = ["vllm", "serve", str(folder)]
    if server == "sglang":
        words = ["python", "-m", "sglang.launch_server", "--model-path", str(folder)]
    if template.is_file():
        words += ["--chat-template", str(template)]
    if server == "vllm":
        words.append("--enable-auto-tool-choice")
    words += ["--tool-call-parser", calls]
    if thinking is not None:
        words += ["--reasoning-parser", thinking]
    return shlex.join(words)
