"""TrainerLoss against the models' own losses, under gradient accumulation, and the example script."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from _cases import labo

from labo_fairseq.compat.torchvision_ops import import_torchvision
from labo_fairseq.errors import UserError
from labo_fairseq.huggingface import TrainerLoss
from labo_fairseq.losses import CrossEntropy, Distillation, LabelSmoothing, Labo, RDrop, ZLoss

if importlib.util.find_spec("torchvision"):
    import_torchvision()  # transformers imports it, which beside a CPU-only torch needs our mend first
transformers = pytest.importorskip("transformers", reason="transformers is not installed: pip install '.[dev]'")

CLONE = Path(__file__).parents[1]
MULTI30K = CLONE.parent / "shared" / "data" / "multi30k"
TYPES, PAD = 50, 0
EXACT = {"atol": 1e-6, "rtol": 1e-5}  # of float32 models


def marian(**more):
    config = transformers.MarianConfig(
        **{"vocab_size": TYPES, "d_model": 16, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2,
           "decoder_attention_heads": 2, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "pad_token_id": PAD,
           "eos_token_id": 1, "forced_eos_token_id": 1, "decoder_start_token_id": PAD, "dropout": 0.0,
           "attention_dropout": 0.0, "activation_dropout": 0.0, **more}
    )  # fmt: skip
    model = transformers.MarianMTModel(config)
    model.final_logits_bias.normal_()
    return model


def bart():
    config = transformers.BartConfig(
        vocab_size=TYPES, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, dropout=0.0,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, pad_token_id=PAD, decoder_start_token_id=1
    )  # fmt: skip
    return transformers.BartForConditionalGeneration(config)


def t5():
    config = transformers.T5Config(
        vocab_size=TYPES, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2, dropout_rate=0.0,
        decoder_start_token_id=PAD, pad_token_id=PAD
    )  # fmt: skip
    return transformers.T5ForConditionalGeneration(config)


def gpt2():
    config = transformers.GPT2Config(
        vocab_size=TYPES, n_embd=16, n_layer=1, n_head=2, n_positions=32, resid_pdrop=0.0, embd_pdrop=0.0,
        attn_pdrop=0.0, bos_token_id=1, eos_token_id=1
    )  # fmt: skip
    return transformers.GPT2LMHeadModel(config)


def llama():
    config = transformers.LlamaConfig(
        vocab_size=TYPES, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, pad_token_id=PAD
    )  # fmt: skip
    return transformers.LlamaForCausalLM(config)


def bert():
    config = transformers.BertConfig(
        vocab_size=TYPES, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )  # fmt: skip
    return transformers.BertForMaskedLM(config)


MODELS = {"marian": marian, "bart": bart, "t5": t5, "gpt2": gpt2, "llama": llama, "bert": bert}


def build(name):
    torch.manual_seed(0)
    return MODELS[name]().train()


def batch(model, seed=0, sentences=4, length=7):
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(3, TYPES, (sentences, length), generator=generator)
    labels = torch.randint(3, TYPES, (sentences, length), generator=generator)
    for row in range(sentences):  # unequal lengths
        labels[row, length - row :] = -100
    inputs = {"input_ids": tokens}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(labels)
    return inputs, labels


def loss_and_gradients(value, model):
    model.zero_grad()
    value.backward()
    return value.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("name", MODELS)
def test_cross_entropy_is_the_models_own_loss(name, projection):
    """Value and the gradient of every parameter: labels are shifted as the model does it, its biases are in."""
    model = build(name)
    inputs, labels = batch(model)
    own = loss_and_gradients(model(**inputs, labels=labels).loss, model)
    loss = TrainerLoss(CrossEntropy(), model, projection)
    got = loss_and_gradients(loss(model(**inputs), labels), model)
    torch.testing.assert_close(got, own, **EXACT)
    # Trainer divides by the number of labels of the whole update: here of as many batches as make 40 labels
    shifted = labels[:, 1:] if loss.shift else labels
    part = loss(model(**inputs), labels, num_items_in_batch=torch.tensor(40))
    torch.testing.assert_close(part, own[0] * shifted.ne(-100).sum() / 40, **EXACT)


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("name", MODELS)
def test_labo_of_a_models_logits(name, projection):
    model = build(name)
    inputs, labels = batch(model)
    logits = model(**inputs).logits
    if name in ("gpt2", "llama"):
        logits, target = logits[:, :-1], labels[:, 1:]
    else:
        target = labels
    kept = target != -100
    expected = loss_and_gradients(labo(1.25)(logits[kept], target[kept]).mean(), model)
    loss = TrainerLoss(Labo(), model, projection)
    torch.testing.assert_close(loss_and_gradients(loss(model(**inputs), labels), model), expected, **EXACT)


def test_a_fused_model_makes_no_logits_in_training_and_all_in_evaluation():
    model = build("marian")
    inputs, labels = batch(model)
    plain = model(**inputs).logits
    loss = TrainerLoss(Labo(), model, "fused")
    assert model(**inputs).logits.shape == (1, 1, TYPES)
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs).logits, plain)
    model.eval()
    outputs = model(**inputs)
    torch.testing.assert_close(outputs.logits, plain)
    evaluated = loss(outputs, labels)
    model.train()
    torch.testing.assert_close(loss(model(**inputs), labels), evaluated, **EXACT)
    loss.close()
    torch.testing.assert_close(model(**inputs).logits, plain)


def test_fused_under_autocast():
    model = build("gpt2")
    inputs, labels = batch(model)
    loss = TrainerLoss(Labo(), model, "fused")
    expected = loss(model(**inputs), labels)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = TrainerLoss(Labo(), build("gpt2"), "fused")
        got = got(got.model(**inputs), labels)
    torch.testing.assert_close(got, expected, atol=0.01, rtol=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gpt2", "marian"])
def test_fused_with_a_compiled_model(name):
    torch._dynamo.reset()
    model = build(name)
    inputs, labels = batch(model)
    expected = loss_and_gradients(TrainerLoss(Labo(), model)(model(**inputs), labels), model)
    loss, compiled = TrainerLoss(Labo(), model, "fused"), torch.compile(model, backend="aot_eager")
    for _ in range(2):  # the first batch checks the projection
        got = loss_and_gradients(loss(compiled(**inputs), labels), model)
        torch.testing.assert_close(got, expected, **EXACT)
    assert compiled(**inputs).logits.shape == (1, 1, TYPES)
    model.eval()
    torch.testing.assert_close(loss(compiled(**inputs), labels).detach(), expected[0], **EXACT)


def test_models_that_do_more_than_project_are_refused_at_the_first_batch():
    config = {"vocab_size": TYPES, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1,
              "num_attention_heads": 2, "num_key_value_heads": 1, "pad_token_id": PAD}  # fmt: skip
    for model in (
        transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**config, head_dim=8)),  # a cap of 30
        transformers.CohereForCausalLM(transformers.CohereConfig(**config, logit_scale=0.25)),
    ):
        model.train()
        inputs, labels = batch(model)
        loss = TrainerLoss(Labo(), model, "fused")
        with pytest.raises(UserError, match="does more to its logits"):
            loss(model(**inputs), labels)


@pytest.mark.parametrize("wrong", ["layer", "word", "r-drop", "teacher"])
def test_what_is_refused_at_once(wrong):
    model = build("gpt2")
    if wrong == "layer":
        model.lm_head = torch.nn.Sequential(model.lm_head)
    loss = {"r-drop": RDrop(Labo()), "teacher": ZLoss(Distillation())}.get(wrong, Labo())
    words = {"layer": "Sequential", "word": "dense", "r-drop": "compute_loss", "teacher": "compute_loss"}[wrong]
    with pytest.raises(UserError, match=words) as error:
        TrainerLoss(loss, model, "fuse" if wrong == "word" else "fused")
    assert "\n" not in str(error.value)


class Sentences(torch.utils.data.Dataset):
    """Pairs of very unequal lengths, in which the mean over batches is not the mean over tokens."""

    def __len__(self):
        return 48

    def __getitem__(self, i):
        generator = torch.Generator().manual_seed(i)
        length = 2 if i % 2 else 12
        return torch.randint(3, TYPES, (2, length), generator=generator)


def trainer_of(model, loss, tmp_path, size, steps, updates=3, **more):
    def collate(rows):
        padded = [
            torch.nn.utils.rnn.pad_sequence([row[side] for row in rows], batch_first=True, padding_value=value)
            for side, value in ((0, PAD), (1, -100))
        ]
        inputs = {"input_ids": padded[0], "attention_mask": padded[0].ne(PAD).long(), "labels": padded[1]}
        if model.config.is_encoder_decoder:
            inputs["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(padded[1])
        return inputs

    arguments = transformers.TrainingArguments(
        str(tmp_path), per_device_train_batch_size=size, gradient_accumulation_steps=steps, max_steps=updates,
        learning_rate=0.5, optim="sgd", lr_scheduler_type="constant", max_grad_norm=0.0, save_strategy="no",
        report_to="none", disable_tqdm=True, use_cpu=True, logging_steps=1, train_sampling_strategy="sequential", **more
    )  # fmt: skip
    return transformers.Trainer(
        model, arguments, train_dataset=Sentences(), data_collator=collate, compute_loss_func=loss
    )


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("name", ["marian", "gpt2"])
def test_gradient_accumulation_changes_nothing(name, projection, tmp_path):
    """16 sentences at once, or 8 times 2: the same parameters after three updates of plain SGD."""
    trained = []
    for size, steps in ((16, 1), (2, 8)):
        model = build(name)
        trainer = trainer_of(model, TrainerLoss(LabelSmoothing(), model, projection), tmp_path, size, steps)
        trainer.train()
        trained.append(dict(model.named_parameters()))
    before = dict(build(name).named_parameters())
    moved = max(float((trained[0][key] - before[key]).abs().max()) for key in before)
    assert moved > 0.05
    for key, value in trained[0].items():
        torch.testing.assert_close(trained[1][key], value, atol=1e-4 * moved, rtol=1e-4)


def test_the_warm_up_follows_the_trainers_updates(tmp_path):
    """Under accumulation: two updates of uniform smoothing are those of LabelSmoothing, the third is not."""
    after = {}
    for updates in (2, 3):
        for kind in ("labo", "uniform"):
            model = build("marian")
            loss = TrainerLoss(Labo(warmup_steps=2) if kind == "labo" else LabelSmoothing(), model)
            trainer = trainer_of(model, loss, tmp_path, 4, 2, updates)
            loss.follow(trainer)
            trainer.train()
            after[updates, kind] = model.model.shared.weight.detach()
    torch.testing.assert_close(after[2, "labo"], after[2, "uniform"], atol=0, rtol=0)
    assert (after[3, "labo"] - after[3, "uniform"]).abs().max() > 1e-3


def test_a_warm_up_that_follows_nothing_says_so(tmp_path):
    model = build("marian")
    trainer = trainer_of(model, TrainerLoss(Labo(warmup_steps=2), model), tmp_path, 4, 1)
    with pytest.raises(UserError, match="follow"):
        trainer.train()


def test_evaluation_by_the_trainer(tmp_path):
    """eval_loss is LABO's mean over the labels; predictions have the whole vocabulary."""
    model = build("marian")
    loss = TrainerLoss(Labo(), model, "fused")
    trainer = trainer_of(model, loss, tmp_path, 16, 1, per_device_eval_batch_size=48, eval_strategy="no")
    got = trainer.predict(Sentences())
    assert got.predictions[0].shape[-1] == TYPES or got.predictions.shape[-1] == TYPES
    inputs = trainer.data_collator([Sentences()[i] for i in range(48)])
    labels = inputs.pop("labels")
    logits = model.eval()(**inputs).logits
    kept = labels != -100
    expected = labo(1.25)(logits[kept], labels[kept]).mean()
    assert got.metrics["test_loss"] == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize("model", ["marian", pytest.param("gpt2", marks=pytest.mark.slow)])
@pytest.mark.parametrize("data", ["embedded", pytest.param("multi30k", marks=pytest.mark.slow)])
def test_the_example(model, data, tmp_path):
    """It learns: after 40 updates the cross entropy is well below that of guessing, log V."""
    if data == "multi30k" and not MULTI30K.is_dir():
        pytest.skip("Multi30k is not here")
    code = (
        "import importlib.util, runpy, sys\n"
        "from labo_fairseq.compat.torchvision_ops import import_torchvision\n"
        "if importlib.util.find_spec('torchvision'): import_torchvision()\n"
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    script = CLONE / "examples" / "huggingface_trainer.py"
    line = ["--model", model, "--out", tmp_path, "--updates", 40, "--sentences", 400]
    line += ["--raw-dir", MULTI30K] if data == "multi30k" else ["--projection", "dense"]
    code = code.replace("sys.argv[0]", repr(str(script)))
    done = subprocess.run([sys.executable, "-c", code, *map(str, line)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["model"] == model and result["last"] < result["first"] - 0.2
    assert result["val_nll"] < result["first"]


def test_nothing_of_transformers_is_imported():
    code = "import sys; sys.modules['transformers'] = None; import labo_fairseq.huggingface"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_labels_are_padded_with_the_losses_own_index():
    """A causal model's last position has no label."""
    model = build("gpt2")
    inputs, labels = batch(model)
    labels[labels == -100] = 7
    loss = TrainerLoss(CrossEntropy(ignore_index=7), model)
    outputs = model(**inputs)
    expected = F.cross_entropy(outputs.logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=7)
    torch.testing.assert_close(loss(outputs, labels), expected, **EXACT)
