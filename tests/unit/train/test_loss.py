"""The loss on trained positions equals the one over full logits, in value and gradients."""

import pytest
import torch
from torch.nn import functional

from toolgrove.models.adapters import Lora, add_adapter
from toolgrove.models.load import load_model
from toolgrove.train import loss
from toolgrove.train.loss import WeightedLoss

IDS = torch.randint(3, 512, (3, 17), generator=torch.Generator().manual_seed(0))
WEIGHTS = torch.rand(3, 17, generator=torch.Generator().manual_seed(1))
WEIGHTS = torch.where(WEIGHTS > 0.6, WEIGHTS * 2, torch.zeros(()))
WEIGHTS[:, 12:] = 0


def full_logits(model, ids, weights):
    logits = model(input_ids=ids).logits[:, :-1].float()
    losses = functional.cross_entropy(logits.flatten(0, 1), ids[:, 1:].flatten(), reduction="none")
    return (losses * weights[:, 1:].flatten()).sum()


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}


def compare(model, whole=False):
    model.train()
    ours = WeightedLoss(model)
    assert ours._whole is whole
    expected = full_logits(model, IDS, WEIGHTS)
    expected.backward()
    wanted = gradients(model)
    model.zero_grad()
    found = ours(IDS, WEIGHTS)
    found.backward()
    assert torch.allclose(found, expected, rtol=1e-5)
    got = gradients(model)
    assert wanted.keys() == got.keys()
    for name, gradient in wanted.items():
        assert torch.allclose(gradient, got[name], rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize("family", ["llama", "qwen"])
@pytest.mark.parametrize("chunked", [False, True])
def test_all_weights(family, chunked, request, monkeypatch):
    if chunked:
        monkeypatch.setattr(loss, "LOGITS_AT_ONCE", 512 * 3)
    compare(load_model(request.getfixturevalue(family), torch.float32))


@pytest.mark.parametrize("targets", [("all-linear",), ("q_proj", "lm_head")])
def test_adapters_on_the_head_too(qwen, targets):
    model = add_adapter(load_model(qwen, torch.float32), Lora(4, 8, 0.0, targets))
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    compare(model)


def test_a_head_trained_whole(qwen):
    model = add_adapter(
        load_model(qwen, torch.float32), Lora(4, 8, 0.0, modules_to_save=("lm_head",))
    )
    compare(model)


def tiny(config_class, **more):
    from transformers import AutoModelForCausalLM

    shape = {
        "vocab_size": 512,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "head_dim": 16,
        "initializer_range": 0.3,
        "pad_token_id": 0,
    }
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config_class(**shape, **more))


def test_heads_that_cap_or_scale():
    from transformers import CohereConfig, Gemma2Config, GraniteConfig

    compare(tiny(Gemma2Config, final_logit_softcapping=5.0))
    compare(tiny(GraniteConfig, logits_scaling=7.0))
    compare(tiny(CohereConfig, logit_scale=0.25))


def test_a_head_we_do_not_know_falls_back_and_says_so(llama, caplog):
    class Odd(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner, self.config = inner, inner.config
            self.device, self.base_model = inner.device, inner.base_model

        def get_output_embeddings(self):
            return self.inner.get_output_embeddings()

        def forward(self, **inputs):
            out = self.inner(**inputs)
            out.logits = out.logits.roll(1, -1)
            return out

    compare(Odd(load_model(llama, torch.float32)), whole=True)
    assert "computing all logits" in caplog.text


def test_padding_changes_nothing(llama):
    ours = WeightedLoss(load_model(llama, torch.float32))
    with torch.no_grad():
        apart = sum(ours(IDS[i : i + 1, : 9 + i], WEIGHTS[i : i + 1, : 9 + i]) for i in range(3))
        weights = WEIGHTS.clone()
        for row in range(3):
            weights[row, 9 + row :] = 0
        together = ours(IDS, weights)
    assert torch.allclose(apart, together, rtol=1e-5)


def test_nothing_trained_is_zero_with_gradients(llama):
    model = load_model(llama, torch.float32)
    nothing = WeightedLoss(model)(IDS, torch.zeros_like(WEIGHTS))
    nothing.backward()
    assert nothing.item() == 0
    assert model.model.norm.weight.grad is not None


def test_bfloat16_is_near_float32(llama):
    exact = WeightedLoss(load_model(llama, torch.float32))(IDS, WEIGHTS)
    model = add_adapter(load_model(llama, torch.bfloat16), Lora(4, 8, 0.0))
    rough = WeightedLoss(model, torch.bfloat16)(IDS, WEIGHTS)
    rough.backward()
    assert rough.dtype == torch.float32
    assert torch.allclose(exact, rough, rtol=0.05)
    adapters = [p for p in model.parameters() if p.requires_grad]
    assert {p.dtype for p in adapters} == {torch.float32}
    assert all(p.grad is not None and p.grad.dtype == torch.float32 for p in adapters)
