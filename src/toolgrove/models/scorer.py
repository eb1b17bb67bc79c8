"""Models with a head that scores a whole sequence: classifiers and reward models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolgrove.core.errors import ModelError
from toolgrove.models.head import body, causal
from toolgrove.models.task import Head

if TYPE_CHECKING:
    import torch
    from torch import Tensor


def load_scorer(folder: Path, dtype: torch.dtype, head: Head, attention: str | None = None) -> Any:
    """The model in ``folder`` with such a head, in evaluation mode.

    The head is new where the folder has none: it then begins at random. ModelError where
    transformers has no such model of this kind, or the folder's head has another size.
    """
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from toolgrove.models.quiet import quiet_transformers

    options: dict[str, Any] = {"attn_implementation": attention} if attention else {}
    try:
        with quiet_transformers():
            model: Any = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=dtype, num_labels=head.labels, problem_type=head.problem, **options
            )
            padding = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        first = str(error).strip().partition("\n")[0]
        raise ModelError(
            f"the model cannot be loaded with a head of {head.labels}: {first}", where=str(folder)
        ) from error
    config = model.config.get_text_config()
    if config.pad_token_id is None:  # transformers' own forward pass needs to know it
        config.pad_token_id = padding.pad_token_id or padding.eos_token_id
    if not is_scorer(model):
        raise ModelError(
            f"{type(model).__name__} has no linear head named score", where=str(folder)
        )
    return model.eval()


def is_scorer(model: Any) -> bool:
    """Whether the model ends in a head that scores."""
    return hasattr(causal(model), "score")


def scores_at(model: Any, hidden: Tensor) -> Tensor:
    """The head on hidden states; float32."""
    return causal(model).score(hidden).float()


def scores(model: Any, ids: list[int]) -> Tensor:
    """What the model says of one sequence of tokens: [labels], float32."""
    import torch

    with torch.no_grad():
        given = torch.tensor([ids], device=model.device)
        hidden = body(model)(input_ids=given, use_cache=False).last_hidden_state
        return scores_at(model, hidden[0, -1])
