"""Every tuner: it learns, goes on from a checkpoint, and answers when loaded as in training."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from toolgrove.core.errors import ConfigError, ModelError
from toolgrove.engine.local import LocalEngine
from toolgrove.models.adapters import load_adapter
from toolgrove.models.base import read_base
from toolgrove.models.decode import Batch
from toolgrove.models.head import body, causal, logits_of
from toolgrove.models.load import load_model
from toolgrove.models.merge import merge_lora
from toolgrove.models.tiny import tiny_model
from toolgrove.train.callbacks import read_metrics
from toolgrove.train.recipe import SftSettings
from toolgrove.train.sft import run_sft
from toolgrove.train.trainer import SftTrainer

TUNERS = {
    "lora": {},
    "rslora": {"use_rslora": True},
    "dora": {"use_dora": True},
    "pissa": {"init_weights": "pissa"},
    "olora": {"init_weights": "olora", "use_rslora": True},
    "lora+": {"lorap_lr_ratio": 16},
    "embedding": {"target_modules": ["ALL", "EMBEDDING"]},
    "regex": {"target_regex": r".*layers\.[01]\..*(q|v)_proj"},
    "head": {"modules_to_save": ["lm_head"]},
    "tokens": {"new_special_tokens": ["<tool:search>", "<tool:stop>"]},
    "grown": {"new_special_tokens": [f"<tool:{number}>" for number in range(70)]},
    "adalora": {"tuner_type": "adalora", "adalora_init_r": 6, "adalora_target_r": 2}
    | {"tuner_options": {"tfinal": 1, "deltaT": 2}},
    "vera": {"tuner_type": "vera"},
    "ia3": {"tuner_type": "ia3"},
    "boft": {"tuner_type": "boft", "tuner_options": {"boft_block_size": 4}},
    "oft": {"tuner_type": "oft", "tuner_options": {"oft_block_size": 4}},
    "loha": {"tuner_type": "loha"},
    "lokr": {"tuner_type": "lokr"},
    "hra": {"tuner_type": "hra"},
    "miss": {"tuner_type": "miss"},
    "fourierft": {"tuner_type": "fourierft", "tuner_options": {"n_frequency": 50}},
    "randlora": {"tuner_type": "randlora", "target_modules": ["q_proj", "v_proj"]},
    "ln_tuning": {"tuner_type": "ln_tuning"},
    "prompt": {"tuner_type": "prompt", "num_virtual_tokens": 5},
    "prompt-text": {"tuner_type": "prompt", "prompt_init_text": "Answer in one word."},
    "p_tuning": {"tuner_type": "p_tuning", "num_virtual_tokens": 5},
    "lstm": {"tuner_type": "p_tuning", "num_virtual_tokens": 5}
    | {"tuner_options": {"encoder_reparameterization_type": "LSTM"}},
    "prefix": {"tuner_type": "prefix", "num_virtual_tokens": 5},
    "projected": {"tuner_type": "prefix", "num_virtual_tokens": 5}
    | {"tuner_options": {"prefix_projection": True, "encoder_hidden_size": 64}},
    "nf4": {"quant_bits": 4},
    "int8": {"quant_bits": 8},
    "freeze-last": {"tuner_type": "freeze", "trainable_layers": 1},
    "freeze-first": {"tuner_type": "freeze", "trainable_layers": -2},
    "freeze-regex": {"tuner_type": "freeze", "trainable_parameters_regex": r"down_proj|norm"},
    "full": {"tuner_type": "full"},
}
OFTEN = (
    "adalora",
    "p_tuning",
    "dora",
    "pissa",
    "grown",
    "prompt",
    "prefix",
    "nf4",
    "freeze-last",
    "vera",
)
FASTER = {"prompt": 0.1, "prompt-text": 0.1, "prefix": 0.1, "full": 1e-3, "adalora": 0.05} | {
    "vera": 0.1,
    "ia3": 0.05,
}
MERGED = {"rslora", "dora", "pissa", "olora", "embedding", "vera", "ia3", "nf4", "loha"}
MERGED |= {"tokens", "grown", "adalora"}


def row(number):
    city = ["Rome", "Oslo", "Bern"][number % 3]
    return {
        "messages": [
            {"role": "user", "content": f"What about {city}?"},
            {"role": "assistant", "content": f"{city} is fine. " * (1 + number % 3)},
        ]
    }


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "tiny", "qwen3")


@pytest.fixture
def settings(model, tmp_path):
    data = tmp_path / "train.jsonl"
    data.write_text("".join(json.dumps(row(n)) + "\n" for n in range(8)), encoding="utf-8")
    return SftSettings(
        model=str(model),
        dataset=[str(data)],
        output_dir=str(tmp_path / "out"),
        torch_dtype="float32",
        lora_dropout=0.0,
        lora_rank=4,
        learning_rate=1e-2,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=1,
        max_steps=6,
        save_steps=3,
    )


def tuned_by(settings, name):
    more = {"learning_rate": FASTER.get(name, 1e-2), **TUNERS[name]}
    return SftSettings(**{**settings.model_dump(), **more})


def of_quantizer(name):
    if name in ("nf4", "int8"):
        pytest.importorskip("bitsandbytes", reason="needs the extra quant")


def logits(model, ids):
    with torch.no_grad():
        return logits_of(model, body(model)(input_ids=ids, use_cache=False).last_hidden_state)


def loaded(settings, checkpoint):
    if (checkpoint / "adapter_config.json").is_file():
        base = read_base(checkpoint)
        plain = load_model(Path(settings.model), torch.float32, quantization=base.quantization)
        return load_adapter(plain, checkpoint)
    return load_model(checkpoint, torch.float32)


def trained(monkeypatch, chosen):
    """The result of a run, and the model that was in memory at its end."""
    kept = []
    train = SftTrainer.train
    monkeypatch.setattr(
        SftTrainer, "train", lambda self, *a, **k: kept.append(self) or train(self, *a, **k)
    )
    result = run_sft(chosen)
    inside = kept[0].tuned.model.eval()
    causal(inside).set_attn_implementation("sdpa")  # no forests from here on
    return result, inside


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[] if n in OFTEN else [pytest.mark.slow]) for n in TUNERS]
)
def test_a_tuner_learns_resumes_and_answers_alike(settings, monkeypatch, tmp_path, name):
    of_quantizer(name)
    chosen = tuned_by(settings, name)
    result, inside = trained(monkeypatch, chosen)
    losses = [line["loss"] for line in read_metrics(result.output_dir / "metrics.jsonl")]
    assert losses[-1] < losses[0]

    ids = (torch.arange(24) * 37 % 512).unsqueeze(0)
    there = loaded(chosen, result.checkpoint)
    torch.testing.assert_close(logits(there, ids), logits(inside, ids), rtol=1e-3, atol=1e-3)
    bare = load_model(Path(chosen.model), torch.float32)
    assert not torch.allclose(logits(there, ids)[..., :512], logits(bare, ids), atol=1e-2)

    copy = tmp_path / "copy"
    shutil.copytree(result.output_dir, copy)
    half = {"output_dir": str(copy), "resume_from_checkpoint": str(copy / "checkpoint-3")}
    run_sft(chosen.model_copy(update=half))
    again = [line["loss"] for line in read_metrics(copy / "metrics.jsonl")]
    assert again == pytest.approx(losses, abs=1e-5)

    if name in MERGED:
        merged = merge_lora(Path(chosen.model), result.checkpoint, tmp_path / "merged").folder
        sum_of_both = load_model(merged, torch.float32)
        torch.testing.assert_close(
            logits(sum_of_both, ids), logits(there, ids), rtol=1e-2, atol=1e-2
        )


@pytest.mark.parametrize("name", ["prompt", "prefix", "grown"])
def test_generation_sees_what_was_learnt(settings, name):
    chosen = tuned_by(settings, name)
    checkpoint = run_sft(chosen).checkpoint
    engine = LocalEngine.load(Path(chosen.model), {"mine": checkpoint}, dtype="float32")
    prompts = [list(range(40, 60)), list(range(40, 57)), [7, 9]]
    batch = Batch(engine._answering(), dict(enumerate(prompts)))
    for number, prompt in enumerate(prompts):
        alone = logits(engine.model, torch.tensor([prompt]))[0, -1]
        torch.testing.assert_close(batch.logits()[number], alone, rtol=1e-4, atol=1e-4)
    batch.take([3, 4, 5], keep=[True, True, True])
    for number, token in enumerate([3, 4, 5]):
        alone = logits(engine.model, torch.tensor([[*prompts[number], token]]))[0, -1]
        torch.testing.assert_close(batch.logits()[number], alone, rtol=1e-4, atol=1e-4)
    engine.use(None)
    bare = load_model(Path(chosen.model), torch.float32)
    with engine._bare(), torch.no_grad():
        alone = logits(bare, torch.tensor([prompts[0]]))[0, -1][:512]
        mine = Batch(engine._answering(), {0: prompts[0]}).logits()[0][:512]
    torch.testing.assert_close(mine, alone, rtol=1e-4, atol=1e-4)
    if name == "grown":
        assert engine.tok.decode([engine.tok.token_id("<tool:69>")]) == "<tool:69>"
        assert engine.tok.token_id("<tool:69>") >= 512


def test_a_learnt_prompt_cannot_be_merged(settings, tmp_path):
    checkpoint = run_sft(tuned_by(settings, "prompt")).checkpoint
    with pytest.raises(ModelError, match="learnt prompt cannot be merged"):
        merge_lora(Path(settings.model), checkpoint, tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_an_adapter_of_another_base_is_refused(settings, tmp_path):
    checkpoint = run_sft(settings.model_copy(update={"max_steps": 1})).checkpoint
    other = tiny_model(tmp_path / "other", "qwen3", seed=1)
    with pytest.raises(ModelError, match="another base") as caught:
        LocalEngine.load(other, {"mine": checkpoint}, dtype="float32")
    assert settings.model in str(caught.value.hint)
    with pytest.raises(ModelError, match="another base"):
        merge_lora(other, checkpoint, tmp_path / "merged")
    same = load_model(Path(settings.model), torch.bfloat16)
    load_adapter(same, checkpoint)  # the same base in another format is the same base


def test_a_base_that_is_held_otherwise_is_refused(settings):
    pytest.importorskip("bitsandbytes", reason="needs the extra quant")
    checkpoint = run_sft(tuned_by(settings, "nf4")).checkpoint
    with pytest.raises(ModelError, match="held in nf4 with double quantization, this one") as e:
        load_adapter(load_model(Path(settings.model), torch.float32), checkpoint)
    assert "full precision" in e.value.what


def test_a_quantized_base_is_not_quantized_again(settings, model, tmp_path):
    pytest.importorskip("bitsandbytes", reason="needs the extra quant")
    folder = tmp_path / "gptq"
    shutil.copytree(model, folder)
    config = json.loads((folder / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4}
    (folder / "config.json").write_text(json.dumps(config))
    update = {"model": str(folder), "quant_bits": 4}
    with pytest.raises(ModelError, match="quantized already"):
        run_sft(settings.model_copy(update=update))


@pytest.mark.parametrize(
    ("update", "shown"),
    [
        ({"target_modules": ["qproj"]}, "q_proj"),
        ({"target_regex": "nothing"}, "layers.0.self_attn.q_proj"),
        ({"modules_to_save": ["head"]}, "q_proj"),
        ({"target_parameters": ["experts.up"]}, "mlp.up_proj.weight"),
        ({"tuner_options": {"lora_bais": True}}, "lora_bias"),
        ({"tuner_type": "freeze", "trainable_layers": 9}, "has 4"),
        ({"tuner_type": "freeze", "trainable_parameters_regex": "nope"}, "model.embed_tokens"),
        ({"tuner_type": "freeze", "trainable_parameters_regex": "(("}, ""),
        ({"new_special_tokens": ["search"]}, "<search>"),
    ],
)
def test_names_that_are_not_there_are_told_with_the_real_ones(settings, update, shown):
    with pytest.raises(ConfigError) as caught:
        run_sft(settings.model_copy(update=update))
    assert shown in str(caught.value)


def test_only_the_chosen_weights_change(settings):
    chosen = tuned_by(settings, "freeze-last")
    checkpoint = run_sft(chosen).checkpoint
    before = load_model(Path(chosen.model), torch.float32).state_dict()
    after = load_model(checkpoint, torch.float32).state_dict()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert changed
    assert all(name.startswith("model.layers.3.") for name in changed)


def test_noise_is_for_training_only(settings):
    noisy = settings.model_copy(update={"neftune_noise_alpha": 5.0})
    quiet = settings.model_copy(update={"output_dir": settings.output_dir + "-quiet"})
    losses = [
        [x["loss"] for x in read_metrics(run_sft(each).output_dir / "metrics.jsonl")]
        for each in (noisy, quiet)
    ]
    assert losses[0][0] != pytest.approx(losses[1][0], abs=1e-6)
    assert losses[0][0] == pytest.approx(losses[1][0], abs=0.5)


def test_lora_plus_gives_b_another_rate(settings, monkeypatch):
    rates = []
    step = torch.optim.AdamW.step
    monkeypatch.setattr(
        torch.optim.AdamW,
        "step",
        lambda self, *a, **k: rates.append([g["lr"] for g in self.param_groups]) or step(self),
    )
    run_sft(tuned_by(settings, "lora+").model_copy(update={"max_steps": 1}))
    assert max(rates[0]) == pytest.approx(16 * rates[0][0])


def test_a_run_stops_early_and_counts_on_when_resumed(settings):
    chosen = SftSettings(
        **{
            **settings.model_dump(),
            "val_dataset": settings.dataset,
            "learning_rate": 1e-12,
            "eval_steps": 1,
            "max_steps": 30,
            "early_stop_interval": 3,
        }
    )
    result = run_sft(chosen)
    assert 4 <= result.steps < 30
    assert result.checkpoint.name == f"checkpoint-{result.steps}"


@pytest.mark.parametrize("name", ["lora", "pissa"])
def test_the_average_is_what_a_run_results_in(settings, name, tmp_path, monkeypatch):
    """The mean of the weights after each step, by hand; it is validated, saved, and goes on."""
    seen = []
    step = torch.optim.AdamW.step

    def watched(self, *args, **more):
        weights = [w for group in self.param_groups for w in group["params"]]
        if not self.state:
            seen.append([w.detach().clone() for w in weights])
        result = step(self, *args, **more)
        seen.append([w.detach().clone() for w in weights])
        return result

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    update = {"ema_decay": 0.4, "val_dataset": settings.dataset}
    chosen = SftSettings(**{**tuned_by(settings, name).model_dump(), **update})
    whole = run_sft(chosen).checkpoint
    assert len(seen) == 7
    wanted = seen[0]
    for number, now in enumerate(seen[1:], 1):
        decay = min(0.4, (1 + number) / (10 + number))
        wanted = [decay * old + (1 - decay) * new for old, new in zip(wanted, now, strict=True)]
    kept = load_file(whole / "trained" / "average.safetensors")
    found = sorted(value.norm().item() for value in kept.values())
    assert found == pytest.approx(sorted(value.norm().item() for value in wanted), rel=1e-5)
    alive = load_file(whole / "trained" / "adapter_model.safetensors")
    by_hand = sorted(value.norm().item() for value in seen[-1])
    assert sorted(v.norm().item() for v in alive.values()) == pytest.approx(by_hand, rel=1e-5)

    tuned = loaded(chosen, whole)  # what is used computes with the average, as validation did
    plain = load_adapter(load_model(Path(chosen.model), torch.float32), whole / "trained")
    ids = torch.arange(9, 40).unsqueeze(0)
    if name == "lora":
        state = {n.replace(".default", ""): v for n, v in kept.items()}
        assert not torch.allclose(logits(tuned, ids), logits(plain, ids), atol=1e-4)
        plain.load_state_dict(
            {
                n: state[n.replace(".mine", "").replace(".default", "")]
                for n in plain.state_dict()
                if "lora_" in n
            },
            strict=False,
        )
        torch.testing.assert_close(logits(tuned, ids), logits(plain, ids))

    copy = tmp_path / "copy"
    shutil.copytree(whole.parent, copy)
    half = {"output_dir": str(copy), "resume_from_checkpoint": str(copy / "checkpoint-3")}
    again = run_sft(chosen.model_copy(update=half)).checkpoint
    for file in ("adapter_model.safetensors", "trained/average.safetensors"):
        first, second = load_file(whole / file), load_file(again / file)
        assert first.keys() == second.keys()
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, rtol=1e-5, atol=1e-6)
    told = [
        [
            line["eval_loss"]
            for line in read_metrics(each.parent / "metrics.jsonl")
            if "eval_loss" in line
        ]
        for each in (whole, again)
    ]
    assert told[0] == pytest.approx(told[1], abs=1e-5)
    (copy / "checkpoint-3" / "trained" / "average.safetensors").unlink()
    with pytest.raises(ModelError, match="no average of these weights"):
        run_sft(chosen.model_copy(update=half))


def test_a_run_goes_on_with_its_own_base_and_tuner_only(settings, tmp_path):
    short = settings.model_copy(update={"max_steps": 1})
    run_sft(short)
    on = {"resume": True, "max_steps": 2}
    other = str(tiny_model(tmp_path / "other", "qwen3", seed=1))
    whole = settings.model_copy(
        update={"tuner_type": "freeze", "trainable_layers": 1, "output_dir": str(tmp_path / "own")}
    )
    run_sft(whole.model_copy(update={"max_steps": 1}))
    for begun, update, says in (
        (short, {"model": other}, "another base"),
        (short, {"lora_rank": 2}, r"\[2, 384\] here, \[4, 384\] there"),
        (short, {"target_modules": ["q_proj"]}, "none here"),
        (short, {"tuner_type": "ia3"}, "trains ia3, the checkpoint holds lora"),
        (short, {"tuner_type": "full"}, "own weights, the checkpoint holds an adapter"),
        (whole, {"tuner_type": "lora"}, "an adapter, the checkpoint holds a whole model"),
        (whole, {"trainable_layers": 2}, "belongs to other weights"),
    ):
        with pytest.raises(ModelError, match=says) as caught:
            run_sft(begun.model_copy(update={**on, **update}))
        assert "another base" in says or "recipe.yaml --resume true" in str(caught.value.hint)
    assert run_sft(short.model_copy(update=on)).steps == 2  # nothing was spoilt


def test_a_run_does_not_go_on_with_a_base_held_otherwise(settings):
    pytest.importorskip("bitsandbytes", reason="needs the extra quant")
    run_sft(settings.model_copy(update={"max_steps": 1}))
    update = {"resume": True, "max_steps": 2, "quant_bits": 4}
    with pytest.raises(ModelError, match="held in full precision, this one is held in nf4"):
        run_sft(settings.model_copy(update=update))
