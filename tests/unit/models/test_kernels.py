"""Liger's kernels: refused where they cannot run, equal to the model's own where they can."""

import sys
from types import ModuleType

import pytest
import torch

from toolgrove.core.errors import ConfigError
from toolgrove.models.kernels import refuse_liger, use_liger
from toolgrove.models.load import load_model
from toolgrove.models.tiny import tiny_model
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_a_run_is_refused_before_its_folder_is_made(tmp_path):
    settings = SftSettings(
        model="/no/where", dataset=["x"], output_dir=str(tmp_path / "out"), use_liger_kernel=True
    )
    with pytest.raises(ConfigError, match="no CUDA device") as caught:
        run_sft(settings)
    assert "leave --use_liger_kernel out" in str(caught.value.hint)
    assert not (tmp_path / "out").exists()


def test_not_installed_is_told(monkeypatch):
    monkeypatch.setattr("toolgrove.models.kernels.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match="not installed") as caught:
        refuse_liger(on_cuda=True)
    assert "pip install liger-kernel" in str(caught.value.hint)


def test_a_model_that_liger_does_not_know_is_told(tmp_path, monkeypatch):
    patch = ModuleType("liger_kernel.transformers.monkey_patch")
    patch.MODEL_TYPE_TO_APPLY_LIGER_FN = {"mistral": None}
    for name in ("liger_kernel", "liger_kernel.transformers"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    monkeypatch.setitem(sys.modules, patch.__name__, patch)
    model = load_model(tiny_model(tmp_path / "tiny"), torch.float32)
    with pytest.raises(ConfigError, match="of the type llama") as caught:
        use_liger(model)
    assert "it knows mistral" in str(caught.value.hint)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_fused_kernels_compute_what_the_model_does(tmp_path):
    pytest.importorskip("liger_kernel")
    ids = torch.arange(9, 40, device="cuda").unsqueeze(0)
    model = load_model(tiny_model(tmp_path / "tiny"), torch.float32).cuda()
    plain = model(input_ids=ids).logits
    use_liger(model)
    torch.testing.assert_close(model(input_ids=ids).logits, plain, rtol=1e-3, atol=1e-3)
