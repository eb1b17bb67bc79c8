"""A causal language model in two parts: the body that ends in hidden states, and the head."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from toolgrove.models.prompted import Prompted, is_prompted


def causal(model: Any) -> Any:
    """The transformers model inside adapters, if there are any."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def body(model: Any) -> Any:
    """The part of the model that ends in hidden states; adapters on it stay active."""
    return Prompted(model) if is_prompted(model) else causal(model).base_model


def layers_of(model: Any) -> list[str]:
    """The classes of the model's layers, as transformers names what must stay in one piece."""
    here = {type(module).__name__ for module in causal(model).modules()}
    return sorted(here.intersection(getattr(causal(model), "_no_split_modules", None) or ()))


def attention_of(model: Any) -> str:
    """The attention kernel that the model is set to, by transformers' name."""
    return str(causal(model).config._attn_implementation)


def vocabulary(model: Any) -> int:
    """How many logits the head makes."""
    return int(causal(model).config.get_text_config().vocab_size)


def logits_of(model: Any, hidden: Tensor) -> Tensor:
    """The head on hidden states, with the scalings that some families declare; float32."""
    logits = causal(model).get_output_embeddings()(hidden).float()
    config = causal(model).config.get_text_config()
    divisor = getattr(config, "logits_scaling", None)
    if divisor:
        logits = logits / divisor
    factor = getattr(config, "logit_scale", None)
    if factor:
        logits = logits * factor
    cap = getattr(config, "final_logit_softcapping", None)
    if cap:
        logits = torch.tanh(logits / cap) * cap
    return logits


def head_is_plain(model: Any) -> bool:
    """Whether body and ``logits_of``, run apart, give what the model itself gives.

    A learnt prompt is left away: what is asked is how the model's own parts fit together.
    """
    model = causal(model)
    training = model.training
    model.eval()
    ids = torch.arange(8, device=model.device).unsqueeze(0)
    try:
        with torch.no_grad():
            theirs = model(input_ids=ids, use_cache=False).logits.float()
            ours = _apart(model, ids)
    finally:
        model.train(training)
    if ours is None or ours.shape != theirs.shape:
        return False
    return torch.allclose(ours, theirs, rtol=1e-2, atol=1e-2)


def _apart(model: Any, ids: Tensor) -> Tensor | None:
    try:
        return logits_of(model, model.base_model(input_ids=ids, use_cache=False).last_hidden_state)
    except (AttributeError, TypeError, RuntimeError):
        return None  # parts that do not fit together: the caller runs the model whole
