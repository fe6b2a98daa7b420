"""The unmodified fairseq commands, end to end on a tiny corpus."""

import re
import shutil
import sys
from pathlib import Path

import pytest


def output_of(done):
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout + done.stderr


def assert_resumed(text, updates):
    assert re.search(r"Loaded checkpoint \S*checkpoint_last.pt \(epoch \d+ @ 4 updates\)", text)
    assert f"num_updates: {updates} >= max_update: {updates}" in text


def test_resume(run_cli, trained, train_args, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "run")
    assert_resumed(output_of(run_cli("fairseq-train", *train_args(folder, 6, bleu=True))), 6)


@pytest.mark.slow
def test_resume_of_two_processes(run_two, trained_by_two, train_args, tmp_path):
    folder = shutil.copytree(trained_by_two, tmp_path / "run")
    done = run_two(Path(sys.executable).with_name("fairseq-train"), *train_args(folder, 6, bleu=True))
    assert_resumed(output_of(done), 6)


@pytest.mark.slow
def test_start_from_a_checkpoint_with_everything_reset(run_cli, trained, train_args, tmp_path):
    reset = [f"--reset-{what}" for what in ("optimizer", "lr-scheduler", "meters", "dataloader")]
    restore = ["--restore-file", trained / "checkpoint_best.pt"]
    text = output_of(run_cli("fairseq-train", *train_args(tmp_path, 1, *restore, *reset)))
    assert "Loaded checkpoint" in text and "num_updates: 1 >= max_update: 1" in text


@pytest.mark.slow
def test_finetune_from_model(run_cli, trained, train_args, tmp_path):
    args = train_args(tmp_path, 1, "--finetune-from-model", trained / "checkpoint_best.pt")
    assert "loading pretrained model from" in output_of(run_cli("fairseq-train", *args))


def test_bf16_with_ema_and_resume(run_cli, train_args, tmp_path):
    flags = ["--bf16", "--store-ema", "--ema-fp32"]
    output_of(run_cli("fairseq-train", *train_args(tmp_path, 4, *flags)))
    assert_resumed(output_of(run_cli("fairseq-train", *train_args(tmp_path, 5, *flags))), 5)


def test_generate_padded_batch(run_cli, tiny_bin, trained):
    path = trained / "checkpoint_best.pt"
    text = output_of(run_cli("fairseq-generate", tiny_bin, "--path", path, "--beam", 2, "--batch-size", 12, "--cpu"))
    assert {int(n) for n in re.findall(r"^H-(\d+)\t", text, re.MULTILINE)} == set(range(12))
    assert "BLEU4 = " in text


def test_validate(run_cli, tiny_bin, trained):
    path = trained / "checkpoint_best.pt"
    args = ["--path", path, "--task", "translation", "--valid-subset", "valid,test", "--max-tokens", 300, "--cpu"]
    assert re.search(r"valid on 'test' subset \| loss \d", output_of(run_cli("fairseq-validate", tiny_bin, *args)))


def test_interactive_buffered(run_cli, tiny_bin, trained, tmp_path):
    (tmp_path / "input").write_text("d1 d2 d3\nd4\n")
    args = ["--path", trained / "checkpoint_best.pt", "--buffer-size", 2, "--max-tokens", 100, "--cpu"]
    text = output_of(run_cli("fairseq-interactive", tiny_bin, *args, "--input", tmp_path / "input"))
    assert re.findall(r"^H-(\d+)\t", text, re.MULTILINE) == ["0", "1"]


@pytest.mark.slow
def test_score(run_cli, tiny_text):
    same = ["--sys", tiny_text / "test.en", "--ref", tiny_text / "test.en"]
    assert "BLEU4 = 100.00" in output_of(run_cli("fairseq-score", *same))
    assert "BLEU = 100.00" in output_of(run_cli("fairseq-score", *same, "--sacrebleu"))
    assert output_of(run_cli("fairseq-score", *same, "--sentence-bleu")).count("BLEU4 = 100.00") == 12


@pytest.mark.slow
def test_language_model(run_cli, tiny_text, tmp_path):
    splits = [word for split in ("train", "valid") for word in (f"--{split}pref", tiny_text / f"{split}.en")]
    output_of(run_cli("fairseq-preprocess", "--only-source", *splits, "--destdir", tmp_path / "bin"))
    model = "--arch transformer_lm --decoder-layers 1 --decoder-embed-dim 16 --decoder-attention-heads 2 --cpu".split()
    run = "--optimizer adam --lr 0.01 --tokens-per-sample 50 --max-tokens 500 --max-update 2 --num-workers 0".split()
    task = ["--task", "language_modeling", "--save-dir", tmp_path / "run"]
    output_of(run_cli("fairseq-train", tmp_path / "bin", *model, *run, *task))
    path = tmp_path / "run" / "checkpoint_last.pt"
    done = run_cli("fairseq-eval-lm", tmp_path / "bin", "--path", path, "--gen-subset", "valid", "--cpu")
    assert "Perplexity: " in output_of(done)


def test_hydra_train_and_resume(run_cli, tiny_bin, tmp_path):
    (tmp_path / "tiny.yaml").write_text(
        f"""# @package _group_
common: {{cpu: true, bf16: true}}
task: {{_name: translation, data: {tiny_bin}, source_lang: de, target_lang: en}}
model: {{_name: transformer, encoder: {{layers: 1, embed_dim: 16, attention_heads: 2}},
         decoder: {{layers: 1, embed_dim: 16, attention_heads: 2}}, share_all_embeddings: true}}
criterion: {{_name: cross_entropy}}
optimizer: {{_name: adam}}
lr_scheduler: {{_name: fixed}}
dataset: {{max_tokens: 300, num_workers: 0}}
optimization: {{lr: [0.01], max_update: 4}}
checkpoint: {{save_dir: {tmp_path}/run, no_epoch_checkpoints: true}}
"""
    )
    args = ["--config-dir", tmp_path, "--config-name", "tiny", f"hydra.run.dir={tmp_path}/hydra"]
    output_of(run_cli("fairseq-hydra-train", *args, cwd=tmp_path))
    text = output_of(run_cli("fairseq-hydra-train", *args, "optimization.max_update=5", cwd=tmp_path))
    assert_resumed(text + (tmp_path / "hydra" / "hydra_train.log").read_text(), 5)
