"""Adapters: adding, loading, merging."""

import json

import pytest
import torch

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.models.adapters import Lora, add_adapter, check_adapter, load_adapter
from toolgrove.models.load import load_model
from toolgrove.models.merge import merge_lora
from toolgrove.models.targets import linear_names

LAYERS = ["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]


@pytest.fixture
def adapter(llama, tmp_path):
    model = add_adapter(load_model(llama, torch.float32), Lora(rank=4))
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(str(tmp_path / "adapter"))
    return tmp_path / "adapter"


def test_all_linear_layers_but_the_head(llama):
    model = load_model(llama, torch.float32)
    assert linear_names(model) == LAYERS
    tuned = add_adapter(model, Lora(rank=4))
    trained = {name for name, weight in tuned.named_parameters() if weight.requires_grad}
    assert len(trained) == 2 * 7 * 4
    assert not any("lm_head" in name for name in trained)


def test_a_wrong_target_lists_the_real_ones(llama):
    with pytest.raises(ConfigError) as caught:
        add_adapter(load_model(llama, torch.float32), Lora(target_modules=("qproj",)))
    assert '"qproj"' in caught.value.what
    assert all(name in str(caught.value.hint) for name in LAYERS)
    assert 'did you mean "q_proj"?' in str(caught.value.hint)


def test_all_linear_may_be_joined_by_others(llama):
    targets = ("all-linear", "embed_tokens")
    tuned = add_adapter(load_model(llama, torch.float32), Lora(rank=2, target_modules=targets))
    assert any("embed_tokens.lora" in name for name, _ in tuned.named_parameters())


def test_the_adapter_folder_is_checked(adapter, tmp_path):
    with pytest.raises(ModelError, match="no such adapter"):
        check_adapter(tmp_path / "nowhere")
    with pytest.raises(ModelError, match=r"no adapter_config\.json") as caught:
        check_adapter(tmp_path)
    assert str(adapter) in str(caught.value.hint)
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(ModelError, match="weights are missing"):
        check_adapter(adapter)
    (adapter / "adapter_config.json").write_text("{")
    with pytest.raises(ModelError, match="not JSON"):
        check_adapter(adapter)


def test_an_adapter_of_another_model_is_refused(adapter, qwen):
    config = json.loads((adapter / "adapter_config.json").read_text())
    config["target_modules"] = ["no_such_layer"]
    (adapter / "adapter_config.json").write_text(json.dumps(config))
    with pytest.raises(ModelError, match="does not fit"):
        load_adapter(load_model(qwen, torch.float32), adapter)


def test_merged_equals_base_plus_adapter(llama, adapter, tmp_path):
    merged = merge_lora(llama, adapter, tmp_path / "merged")
    ids = torch.arange(40).unsqueeze(0)
    tuned = load_adapter(load_model(llama, torch.float32), adapter)
    with torch.no_grad():
        together = tuned(input_ids=ids).logits
        alone = load_model(merged.folder, torch.float32)(input_ids=ids).logits
        base = load_model(llama, torch.float32)(input_ids=ids).logits
    assert torch.allclose(together, alone, atol=1e-4)
    assert not torch.allclose(base, alone, atol=1e-2)
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (merged.folder / name).read_bytes() == (llama / name).read_bytes()
    assert "chat_template" in json.loads((merged.folder / "tokenizer_config.json").read_text())


def test_merging_in_bfloat16_is_within_its_rounding(adapter, tmp_path):
    from toolgrove.models.tiny import tiny_model

    base = tiny_model(tmp_path / "half", dtype="bfloat16")
    merged = merge_lora(base, adapter, tmp_path / "merged")
    assert load_model(merged.folder, torch.bfloat16).dtype == torch.bfloat16
    assert 0 < merged.difference < 0.15


def test_merging_does_not_overwrite(llama, adapter, tmp_path):
    out = tmp_path / "merged"
    merge_lora(llama, adapter, out)
    with pytest.raises(ModelError, match="not empty"):
        merge_lora(llama, adapter, out)
    merge_lora(llama, adapter, out, overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["adapter", "merged"]
