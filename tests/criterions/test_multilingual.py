"""The criterions under fairseq's two multilingual tasks, with fairseq's own trainer, on two pairs of languages."""

import collections
import json
import shutil

import pytest
import torch
from _cases import CASES
from fairseq import options, tasks
from fairseq.data import Dictionary
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.trainer import Trainer

import labo_fairseq
from labo_fairseq.cli import main
from labo_fairseq.compat.updates import updates_done
from labo_fairseq.errors import UserError
from labo_fairseq.fairseq_models.target_counts import regular_types, target_counts
from labo_fairseq.functional import Labo

labo_fairseq.register()

CRITERIONS = {case.criterion: case.flags for case in CASES if case.criterion}
SHARED = ["--share-encoders", "--share-decoders", "--share-all-embeddings"]
TASKS = {
    "multilingual_translation": ["--arch", "multilingual_transformer", *SHARED],
    "translation_multi_simple_epoch": ["--arch", "transformer", "--share-all-embeddings"],
}
SMALL = (
    "--encoder-layers 1 --decoder-layers 1 --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 16 "
    "--decoder-ffn-embed-dim 16 --encoder-attention-heads 2 --decoder-attention-heads 2 --dropout 0 --cpu "
    "--optimizer adam --lr 0.01 --max-tokens 100 --num-workers 0"
).split()


@pytest.fixture(scope="module")
def two_pairs(tiny_bin, tmp_path_factory):
    """Binaries of de-en, and of fr-en, whose training set is the valid set of the first."""
    folder = shutil.copytree(tiny_bin, tmp_path_factory.mktemp("two_pairs") / "bin")
    shutil.copy(folder / "dict.de.txt", folder / "dict.fr.txt")
    for split, source in (("train", "valid"), ("valid", "test"), ("test", "test")):
        for old, new in (("de", "fr"), ("en", "en")):
            for ending in ("bin", "idx"):
                shutil.copy(folder / f"{source}.de-en.{old}.{ending}", folder / f"{split}.fr-en.{new}.{ending}")
    return folder


def make_trainer(data, task, *flags, pairs="de-en,fr-en", **criterion):
    line = [str(data), "--task", task, "--lang-pairs", pairs, *TASKS[task], *SMALL, *map(str, flags)]
    for name, value in criterion.items():
        line += [f"--{name.replace('_', '-')}"] + ([] if value is True else [str(value)])
    cfg = convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), line))
    task = tasks.setup_task(cfg.task)
    torch.manual_seed(1)
    model, criterion = task.build_model(cfg.model), task.build_criterion(cfg.criterion)
    for split in ("train", "valid"):
        task.load_dataset(split, epoch=1)
    return Trainer(cfg, task, model, criterion)


def batches(trainer, split):
    dataset = trainer.task.dataset(split)
    limits = trainer.task.max_positions()
    iterator = trainer.task.get_batch_iterator(dataset, max_tokens=100, max_positions=limits, epoch=1)
    return list(iterator.next_epoch_itr(shuffle=False))


@pytest.mark.parametrize(
    "task, name",
    [
        pytest.param(task, name, marks=() if task == "multilingual_translation" or name == "labo" else pytest.mark.slow)
        for task in TASKS
        for name in CRITERIONS
    ],
)
def test_three_updates_fused_and_dense_end_at_the_same_parameters(two_pairs, task, name):
    flags = CRITERIONS[name] | ({"smoothing_warmup_updates": 2} if name == "labo" else {})
    ends = []
    for projection in ("fused", "dense"):
        # Adam would blow up the rounding of gradients that are 0
        sgd = ["--optimizer", "sgd", "--lr", 0.5]
        trainer = make_trainer(two_pairs, task, *sgd, criterion=name, projection=projection, **flags)
        before = {key: parameter.detach().clone() for key, parameter in trainer.model.named_parameters()}
        for sample in batches(trainer, "train")[:3]:
            with metrics.aggregate():
                trainer.train_step([sample])
        assert trainer.get_num_updates() == 3
        ends.append(dict(trainer.model.named_parameters()))
        assert (ends[-1][key := next(iter(before))] - before[key]).abs().max() > 1e-3
    for key, parameter in ends[0].items():
        torch.testing.assert_close(parameter, ends[1][key], atol=1e-5, rtol=0, msg=key)


@pytest.mark.parametrize("task", TASKS)
def test_each_pairs_model_knows_the_update(two_pairs, task, monkeypatch):
    """Without a mend, multilingual_translation tells its models nothing, and LABO would have no warm-up."""
    trainer = make_trainer(two_pairs, task, "--update-freq", 2, criterion="labo", smoothing_warmup_updates=2)
    seen = []
    original = trainer.criterion.row_loss

    def row_loss(model):
        found = original(model)
        seen.append((updates_done(model), isinstance(found, Labo)))
        return found

    monkeypatch.setattr(trainer.criterion, "row_loss", row_loss)
    train, valid = batches(trainer, "train"), batches(trainer, "valid")
    for first in (0, 2, 4):
        with metrics.aggregate():
            trainer.train_step(train[first : first + 2])
            trainer.valid_step(valid[0])
    # accumulated batches, times the pairs of multilingual_translation; validation sees the number of that time
    once = 2 if task == "multilingual_translation" else 1
    expected = []
    for update in range(3):
        expected += [(update, update >= 2)] * 3 * once
    assert seen == expected


@pytest.mark.parametrize("projection", ["fused", "dense"])
def test_each_pair_is_logged(two_pairs, projection):
    """`de-en:ece` and the like are what the criterion logs for the batches of that pair alone."""
    flags = {"report_accuracy": True, "report_calibration": True, "projection": projection}
    trainer = make_trainer(two_pairs, "multilingual_translation", criterion="label_smoothing", **flags)
    logs, alone = [], collections.defaultdict(list)
    for sample in batches(trainer, "valid"):
        logs.append(trainer.task.valid_step(sample, trainer.model, trainer.criterion)[2])
        for pair, model in trainer.model.models.items():
            with torch.no_grad():
                alone[pair].append(trainer.criterion(model, sample[pair])[2])
    together = reduced(trainer.criterion, logs)
    for pair, found in alone.items():
        expected = reduced(trainer.criterion, found)
        assert {"loss", "nll_loss", "ppl", "accuracy", "ece"} <= expected.keys()
        assert {key: together[f"{pair}:{key}"] for key in expected} == pytest.approx(expected, nan_ok=True)
    assert together["ntokens"] == sum(together[f"{pair}:ntokens"] for pair in alone)
    assert not [key for key in together if key.startswith("_")]


def reduced(criterion, logs):
    with metrics.aggregate(new_root=True) as found:
        type(criterion).reduce_metrics(logs)
        for key in [key for key in logs[0] if key.endswith("ntokens")]:
            metrics.log_scalar_sum(key, sum(log[key] for log in logs))
    return dict(found.get_smoothed_values())


@pytest.mark.parametrize("task", TASKS)
def test_priors_count_the_targets_of_all_pairs(two_pairs, tiny_text, task):
    trainer = make_trainer(two_pairs, task, criterion="label_smoothing", smoothing_prior="unigram")
    dictionary = trainer.task.target_dictionary
    words = collections.Counter()
    for split in ("train", "valid"):  # the latter is the training set of fr-en
        for line in (tiny_text / f"{split}.en").read_text().splitlines():
            words.update([*line.split(), dictionary.eos_word])
    counts = torch.tensor([float(words[symbol]) for symbol in dictionary.symbols], dtype=torch.double)
    counts[~regular_types(dictionary)] = 0
    torch.testing.assert_close(trainer.criterion.loss.prior.double(), counts / counts.sum(), atol=1e-7, rtol=0)


@pytest.mark.parametrize("task", TASKS)
def test_language_tokens_have_no_count(two_pairs, task):
    trainer = make_trainer(two_pairs, task, "--decoder-langtok", criterion="label_smoothing", smoothing_prior="masked")
    counts = target_counts(trainer.task)
    assert counts[trainer.task.target_dictionary.index("__en__")] == 0 < counts.sum()


def test_one_direction_counts_its_target_language(two_pairs):
    task = make_trainer(two_pairs, "multilingual_translation", criterion="cross_entropy", pairs="de-en,en-de").task
    both = target_counts(task)
    task.args.source_lang, task.args.target_lang = "de", "en"
    english = target_counts(task)
    symbols = task.target_dictionary.symbols
    assert {symbols[i][0] for i in both.nonzero().flatten()} == {"d", "e", "<"}
    assert {symbols[i][0] for i in english.nonzero().flatten()} == {"e", "<"}


def test_a_prior_needs_one_dictionary(two_pairs):
    task = make_trainer(two_pairs, "multilingual_translation", criterion="cross_entropy", pairs="de-en,en-de").task
    task.dicts["de"] = Dictionary()
    with pytest.raises(UserError, match="different dictionaries"):
        target_counts(task)


@pytest.mark.parametrize("task", TASKS)
def test_calibration_of_each_direction(two_pairs, tmp_path, capsys, task):
    """The uncalibrated likelihoods of the two directions are together that of the criterion on the validation set."""
    trainer = make_trainer(two_pairs, task, criterion="label_smoothing")
    logs = [
        trainer.task.valid_step(sample, trainer.model, trainer.criterion)[2] for sample in batches(trainer, "valid")
    ]
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(tmp_path / "both.pt"), {"train_iterator": {"epoch": 1}, "val_loss": 1.0})
    command = ["calibrate", str(two_pairs), "--path", str(tmp_path / "both.pt"), "--cpu", "--json", "--out"]
    found = {}
    for source in ("de", "fr"):
        out = tmp_path / source
        assert main([*command, str(out), "--source-lang", source, "--target-lang", "en"]) == 0
        found[source] = json.loads(capsys.readouterr().out)["before"]["all"]
        corpus = json.loads((out / "calibration.json").read_text())["corpus"]
        assert (corpus["source_lang"], corpus["target_lang"], corpus["sentences"]) == (source, "en", 12)
    tokens = {source: int(row["signature"].partition("n:")[2]) for source, row in found.items()}
    if task == "multilingual_translation":
        assert tokens == {source: sum(log[f"{source}-en:ntokens"] for log in logs) for source in tokens}
    total = sum(row["nll"] * tokens[source] for source, row in found.items())
    assert total == pytest.approx(sum(float(log["nll_loss"]) for log in logs), rel=1e-5)
    assert main([*command, str(tmp_path / "none")]) == 2
    assert "translates de-en, fr-en: name one of them with --source-lang" in capsys.readouterr().err
