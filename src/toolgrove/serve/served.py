"""What a server has: the models that it answers for, their dialects, tokenizer and engine."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from toolgrove.core.errors import did_you_mean
from toolgrove.core.messages import JSON
from toolgrove.encoding.constrain import token_bytes
from toolgrove.encoding.tokenizer import Tokenizer
from toolgrove.engine.speech import Speech
from toolgrove.serve.refusal import RefusedError
from toolgrove.serve.scheduler import Scheduler


class Defaults(NamedTuple):
    """What holds where a request does not say: the model maker's own generation settings."""

    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    max_new_tokens: int | None = None


@dataclass(frozen=True)
class Model:
    """A name that requests can ask for: the base model, or it with an adapter."""

    name: str
    speech: Speech
    adapter: str | None = None
    root: str = ""
    created: int = field(default_factory=lambda: int(time.time()))


@dataclass
class Served:
    """Everything that answering needs."""

    tokenizer: Tokenizer
    scheduler: Scheduler
    base: Model
    defaults: Defaults = field(default_factory=Defaults)
    strict: bool = False
    models: dict[str, Model] = field(default_factory=dict[str, Model])

    def __post_init__(self) -> None:
        self.models.setdefault(self.base.name, self.base)

    @cached_property
    def token_bytes(self) -> list[bytes]:
        """What each token stands for."""
        return token_bytes(self.tokenizer)

    def model(self, name: str | None) -> Model:
        """The model of that name (None: the base model); RefusedError 404 when there is none."""
        if name is None:
            return self.base
        found = self.models.get(name)
        if found is None:
            near = did_you_mean(name, self.models) or f"models: {', '.join(self.models)}"
            raise RefusedError(
                404, f'no model "{name}"; {near}', param="model", code="model_not_found"
            )
        return found

    def listed(self) -> JSON:
        """The models as ``GET /v1/models`` tells them, with the templates that each speaks."""
        return {"object": "list", "data": [self.told(model) for model in self.models.values()]}

    def told(self, model: Model) -> JSON:
        """A model as ``/v1/models`` tells it."""
        dialect = model.speech.dialect()
        return {
            "id": model.name,
            "object": "model",
            "created": model.created,
            "owned_by": "toolgrove",
            "root": model.root or model.name,
            "parent": None if model.adapter is None else self.base.name,
            "max_model_len": self.scheduler.engine.context,
            "chat_template": dialect.chat_name,
            "agent_template": dialect.agent_name,
            "template_reason": model.speech.why,
        }

    def add(self, name: str, folder: Path, speech: Speech) -> Model:
        """A further name, for an adapter that the engine has loaded."""
        self.models[name] = Model(name, speech, adapter=name, root=str(folder))
        return self.models[name]
