"""Models that can run forests are found, and those that cannot are left as they were."""

import pytest
import torch

from toolgrove.models.adapters import Lora, add_adapter
from toolgrove.models.load import load_model
from toolgrove.train import probe
from toolgrove.train.attention import NAME, tree_attention
from toolgrove.train.layout import Layout
from toolgrove.train.loss import WeightedLoss
from toolgrove.train.probe import APART, set_to_forests

SHAPE = {
    "vocab_size": 512,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "pad_token_id": 0,
}


def of(config):
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return WeightedLoss(AutoModelForCausalLM.from_config(config))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_llama_can(llama, dtype):
    model = add_adapter(load_model(llama, dtype), Lora(4, 8, 0.1))
    loss = WeightedLoss(model.train(), dtype)
    assert set_to_forests(loss, 5000) == ""
    assert model.get_base_model().config._attn_implementation == NAME
    assert loss.training


def test_a_recurrent_model_cannot():
    from transformers import MambaConfig

    loss = of(MambaConfig(vocab_size=512, hidden_size=32, num_hidden_layers=2, state_size=8))
    assert "interface" in set_to_forests(loss, 10)


def test_a_model_that_is_partly_recurrent_cannot():
    from transformers import Qwen3NextConfig

    config = Qwen3NextConfig(
        **SHAPE,
        num_experts=2,
        num_experts_per_tok=1,
        moe_intermediate_size=32,
        shared_expert_intermediate_size=32,
        linear_num_key_heads=2,
        linear_num_value_heads=2,
        linear_key_head_dim=16,
        linear_value_head_dim=16,
    )
    loss = of(config)
    before = loss.config._attn_implementation
    assert "another branch" in set_to_forests(loss, 10)
    assert loss.config._attn_implementation == before


def test_layers_that_look_at_chunks_limit_the_rows():
    from transformers import Llama4TextConfig

    def loss():
        return of(
            Llama4TextConfig(
                **SHAPE,
                intermediate_size_mlp=96,
                num_local_experts=2,
                num_experts_per_tok=1,
                attention_chunk_size=32,
            )
        )

    assert set_to_forests(loss(), 32) == ""
    assert "32 tokens" in set_to_forests(loss(), 33)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_what_sees_too_much_is_found(llama, dtype, monkeypatch):
    """A model that runs the forest as one row, positions right, is far beyond the limit."""
    from transformers import AttentionInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    def blind(module, query, key, value, mask, **asked):
        asked["forest"].asked.layers += 1
        return sdpa_attention_forward(module, query, key, value, None, **asked)

    monkeypatch.setattr(probe, "register", lambda: AttentionInterface.register(NAME, blind))
    loss = WeightedLoss(load_model(llama, dtype), dtype)
    why = set_to_forests(loss, 10)
    assert "another branch changes" in why
    assert float(why.split()[-1].rstrip("%")) / 100 > 5 * APART[dtype]
    monkeypatch.undo()
    assert set_to_forests(loss, 10) == ""


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_positions_that_do_not_restart_are_found(llama, dtype, monkeypatch):
    monkeypatch.setattr(Layout, "positions", property(lambda layout: torch.arange(len(layout))))
    loss = WeightedLoss(load_model(llama, dtype), dtype)
    assert "another branch changes" in set_to_forests(loss, 10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_attention_that_is_not_the_models_own_is_found(llama, dtype, monkeypatch):
    from transformers import AttentionInterface

    def flatter(module, query, key, value, mask, **asked):
        return tree_attention(module, query * 0.3, key, value, mask, **asked)

    monkeypatch.setattr(probe, "register", lambda: AttentionInterface.register(NAME, flatter))
    loss = WeightedLoss(load_model(llama, dtype), dtype)
    why = set_to_forests(loss, 10)
    assert "in a forest a token's logits are" in why


def test_the_forests_are_sorted_and_differ_in_one_branch():
    first, second = probe.FORESTS
    assert first == sorted(first)
    assert second == sorted(second)
    assert first[1:] == second[:2]
