"""Means are over the targets that have a loss: neither padding nor the prefix that is ignored counts anywhere."""

import math
from types import SimpleNamespace

import pytest
import torch
from _models import build, make_batch, make_model, make_task, run
from fairseq import metrics
from fairseq.data import LanguagePairDataset

from labo_fairseq.fairseq_models.stored_teacher import StoredTeacher
from labo_fairseq.fairseq_models.teacher import ModelTeacher
from labo_fairseq.functional import Distillation

LENGTHS = (7, 4, 2)
METHODS = ["label_smoothing", "labo", "generalized_entropy"]


def logged(criterion, logs):
    with metrics.aggregate() as aggregator:
        criterion.reduce_metrics(logs)
    return aggregator.get_smoothed_values()


def padded_on_the_left(batch, pad):
    """The same sentences with the padding of the target side in front."""
    moved = {key: torch.full_like(batch["target"], pad) for key in ("target", "prev_output_tokens")}
    for row, length in enumerate(LENGTHS):
        moved["target"][row, -length:] = batch["target"][row, :length]
        moved["prev_output_tokens"][row, -length:] = batch["net_input"]["prev_output_tokens"][row, :length]
    net_input = {**batch["net_input"], "prev_output_tokens": moved["prev_output_tokens"]}
    return {**batch, "net_input": net_input, "target": moved["target"]}


def likelihood(model, batch, prefix, pad):
    """−log p of each target behind the first `prefix` of its sentence, literally: a list per sentence, in nats."""
    log_p = model(**batch["net_input"])[0].log_softmax(-1)
    found = []
    for row, target in enumerate(batch["target"].tolist()):
        real = [column for column, token in enumerate(target) if token != pad]
        found.append([-float(log_p[row, column, target[column]].detach()) for column in real[prefix:]])
    return found


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("prefix", [0, 1, 2, 3, 5])
def test_the_prefix_is_that_of_each_sentence(task, model, batch, projection, side, prefix):
    pad = task.target_dictionary.pad()
    batch = batch if side == "right" else padded_on_the_left(batch, pad)
    criterion = build(task, "labo", ignore_prefix_size=prefix, projection=projection, report_accuracy=True)
    _, size, log, _ = run(criterion, model, batch)
    rows = likelihood(model, batch, prefix, pad)
    counted = sum(map(len, rows))
    assert size == log["ntokens"] == log["sample_size"] == log["total"] == counted
    nll = sum(map(sum, rows)) / counted / math.log(2)
    shown = logged(criterion, [log])
    assert shown["nll_loss"] == pytest.approx(nll, abs=6e-4)
    assert shown["ppl"] == pytest.approx(2**nll, rel=1e-2)


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("rdrop", [0.0, 1.0])
def test_gradients_of_left_and_right_padding_and_of_both_paths_are_one(task, model, batch, name, projection, rdrop):
    flags = {"ignore_prefix_size": 2, "rdrop_weight": rdrop}
    left = padded_on_the_left(batch, task.target_dictionary.pad())
    model.train()
    expected = run(build(task, name, projection="dense", **flags), model, batch)
    got = run(build(task, name, projection=projection, **flags), model, left)
    assert got[1] == expected[1] == 5 + 2
    # sinusoids of padded positions are 0, and positions are counted behind the padding: the same model output
    torch.testing.assert_close(got[0], expected[0])
    for key, grad in expected[3].items():
        torch.testing.assert_close(got[3][key], grad, atol=2e-6, rtol=1e-4, msg=key)


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("prefix, sentences", [(0, 3), (2, 2), (4, 1), (6, 1)])
def test_the_mean_over_sentences_is_over_those_with_a_target(task, model, batch, projection, prefix, sentences):
    criterion = build(task, "labo", sentence_avg=True, ignore_prefix_size=prefix, projection=projection)
    _, size, log, _ = run(criterion, model, batch)
    assert size == log["sample_size"] == sentences
    assert log["nsentences"] == 3


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("flags", [{}, {"rdrop_weight": 1.0}, {"sentence_avg": True}, {"z_loss": 0.1}], ids=str)
def test_a_prefix_longer_than_every_target_counts_nothing(task, model, batch, name, projection, flags, caplog):
    criterion = build(task, name, ignore_prefix_size=300, projection=projection, report_accuracy=True, **flags)
    loss, size, log, grads = run(criterion, model.train(), batch)
    assert loss == 0 and size == log["ntokens"] == log["total"] == 0
    assert all((grad == 0).all() for grad in grads.values())
    assert "no target to learn from" in caplog.text and "first 300 (--ignore-prefix-size)" in caplog.text
    shown = logged(criterion, [log])
    assert shown["loss"] is shown["nll_loss"] is shown["ppl"] is None  # not 0 and 1, and not fairseq's -1
    assert "accuracy" not in shown


def test_a_batch_of_nothing_leaves_the_mean_of_the_others(task, model, batch):
    criterion = build(task, "labo", ignore_prefix_size=2)
    short = make_batch(task.target_dictionary, (2, 1), seed=5)
    logs = [run(criterion, model, one)[2] for one in (batch, short)]
    alone, both = logged(criterion, logs[:1]), logged(criterion, logs)
    assert both["nll_loss"] == alone["nll_loss"] and both["ppl"] == alone["ppl"]
    with metrics.aggregate() as aggregator:  # one after the other, as over an epoch
        for log in reversed(logs):
            criterion.reduce_metrics([log])
    assert aggregator.get_smoothed_values()["nll_loss"] == alone["nll_loss"]


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("name", METHODS)
def test_masked_targets_of_a_language_model(task, model, batch, name, projection):
    """fairseq's masked_lm task: targets are padding but where a token was masked, ntokens counts all the input."""
    pad = task.target_dictionary.pad()
    masked = torch.zeros_like(batch["target"], dtype=torch.bool)
    masked[0, 5] = masked[1, 0] = masked[1, 3] = True
    sample = {**batch, "target": batch["target"].masked_fill(~masked, pad), "ntokens": 13}
    criterion = build(task, name, projection=projection)
    _, size, log, _ = run(criterion, model, sample)
    log_p = model(**batch["net_input"])[0].log_softmax(-1)
    nll = -log_p.gather(2, batch["target"].unsqueeze(2)).squeeze(2)[masked].mean()
    assert size == log["ntokens"] == 3
    assert logged(criterion, [log])["nll_loss"] == pytest.approx(nll.item() / math.log(2), abs=6e-4)


def test_workers_sums_are_those_of_the_whole(task, model, batch):
    """Three workers with one sentence each, one of them with nothing to count."""
    criterion = build(task, "labo", ignore_prefix_size=2, report_accuracy=True)
    whole = run(criterion, model, batch)[2]
    logs = []
    for row, length in enumerate(LENGTHS):
        source = int(batch["net_input"]["src_lengths"][row])
        one = {
            "net_input": {
                "src_tokens": batch["net_input"]["src_tokens"][row : row + 1, :source],
                "src_lengths": batch["net_input"]["src_lengths"][row : row + 1],
                "prev_output_tokens": batch["net_input"]["prev_output_tokens"][row : row + 1, :length],
            },
            "target": batch["target"][row : row + 1, :length],
            "ntokens": length,
        }
        logs.append(run(criterion, model, one)[2])
    assert logs[2]["ntokens"] == 0
    assert all(log.keys() == whole.keys() for log in logs)
    for key in whole:
        assert sum(float(log[key]) for log in logs) == pytest.approx(float(whole[key]), rel=1e-5), key


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("side", ["right", "left"])
def test_a_teacher_is_asked_about_the_targets_that_count(task, model, batch, projection, side):
    """KL from the student's own distribution is 0: a teacher whose rows were shifted would show."""
    batch = batch if side == "right" else padded_on_the_left(batch, task.target_dictionary.pad())
    criterion = build(task, "label_smoothing", ignore_prefix_size=2, projection=projection)
    teacher = ModelTeacher([make_model(task)]).logits(model, batch, criterion._rows)
    criterion.row_loss = lambda model: Distillation(1.0, teacher)
    loss, *_ = run(criterion, model, batch)
    assert float(loss) == pytest.approx(0, abs=1e-5)


def test_a_stored_teacher_keeps_its_rows_under_a_prefix():
    """Its rows are spread over all positions, so that a prefix does not shift them."""
    task = make_task()
    sample = make_batch(task.target_dictionary, (4, 2))
    kept = sample["target"].ne(task.target_dictionary.pad())
    teacher = StoredTeacher.__new__(StoredTeacher)
    probabilities = torch.linspace(0.1, 0.6, 6).unsqueeze(1)
    teacher._probed, teacher.task, teacher.path = True, task, "x"
    teacher._content = {
        "probabilities": torch.cat([probabilities, 1 - probabilities], 1),
        "types": torch.full((6, 1), 7, dtype=torch.int32),
        "starts": torch.tensor([0, 4]),
        "sizes": torch.tensor([4, 2]),
    }
    teacher._find = lambda sample: (torch.tensor([0, 1]).numpy(), torch.tensor([True, True]).numpy())
    logits = teacher.logits(None, sample, lambda x: x.flatten(0, 1))(kept.flatten().nonzero().squeeze(1))
    torch.testing.assert_close(logits[:, 7].exp(), probabilities.squeeze(1))


def test_beta_smoothing_ranks_the_targets_that_count(task, model, batch):
    """The EMA model sees every row, and padding and prefix alike have no rank."""
    criterion = build_beta(task, model)
    loss, size, _, _ = run(criterion, model.train(), batch)
    assert size == 5 + 2 and loss.isfinite()


def build_beta(task, model):
    task = SimpleNamespace(**vars(task), train_step=None, valid_step=None)
    criterion = build(task, "beta_smoothing", ignore_prefix_size=2, store_ema=True)
    criterion._receive(make_model(task))
    return criterion


def test_a_data_set_that_is_padded_on_the_left(task, model):
    """fairseq's own collater with left_pad_target, as --left-pad-target True makes it."""
    dictionary = task.target_dictionary
    sentences = [torch.tensor([5, 6, 7, 8, dictionary.eos()]), torch.tensor([9, 10, dictionary.eos()])]
    sizes = torch.tensor([5, 3]).numpy()
    logs = []
    for left in (True, False):
        data = LanguagePairDataset(
            sentences, sizes, dictionary, sentences, sizes, dictionary, left_pad_target=left, shuffle=False
        )
        sample = data.collater([data[0], data[1]])
        assert (sample["target"][1, 0] == dictionary.pad()) == left
        logs.append(run(build(task, "labo", ignore_prefix_size=2), model, sample)[2])
    for log in logs:
        assert log["ntokens"] == 3 + 1
    assert float(logs[0]["nll_loss"]) == pytest.approx(float(logs[1]["nll_loss"]), rel=1e-5)
