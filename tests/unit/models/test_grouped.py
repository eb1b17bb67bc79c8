"""Grouped queries asked together: the same logits, batch and padding or not."""

import pytest
import torch

from toolgrove.engine.local import LocalEngine
from toolgrove.models import grouped
from toolgrove.models.decode import Batch
from toolgrove.models.head import attention_of
from toolgrove.models.load import load_model
from toolgrove.models.tiny import tiny_model

PROMPTS = {0: [3, 4, 5, 6, 7, 8, 9], 1: [9, 8, 7], 2: [5, 5, 5, 5, 5]}


def logits(model, prompts) -> torch.Tensor:
    """Those of three further tokens."""
    made = []
    with torch.no_grad():
        batch = Batch(model, prompts)
        for token in (11, 12, 13):
            batch.take([token] * len(prompts), [True] * len(prompts))
            made.append(batch.logits())
    return torch.stack(made)


@pytest.mark.parametrize("family", ["llama", "qwen3", "gemma3"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("prompts", [PROMPTS, {0: PROMPTS[0]}])
def test_logits_are_those_of_sdpa(family, dtype, prompts, tmp_path, monkeypatch) -> None:
    model = load_model(tiny_model(tmp_path, family), dtype)
    assert attention_of(model) == "sdpa"
    expected = logits(model, prompts)
    grouped.group_queries(model)
    assert attention_of(model) == grouped.NAME
    asked = []
    plain = torch.nn.functional.scaled_dot_product_attention
    monkeypatch.setattr(
        torch.nn.functional,
        "scaled_dot_product_attention",
        lambda query, *args, **more: asked.append(query.shape) or plain(query, *args, **more),
    )
    found = logits(model, prompts)
    assert asked[-1][1:3] == (2, 2)  # two heads with two queries each, in place of four with one
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5 if dtype.itemsize == 4 else 0.05)


def test_engines_group_what_sdpa_can_group(llama, tmp_path) -> None:
    assert attention_of(LocalEngine.load(llama).model) == grouped.NAME
    other = LocalEngine.load(tiny_model(tmp_path, "gpt_oss")).model
    assert attention_of(other) != grouped.NAME  # attention sinks: sdpa has none
