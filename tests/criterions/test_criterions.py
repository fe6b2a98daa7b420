"""The registered criterions: equal to the references, true to fairseq's contract, the same on both paths."""

import logging
import math

import pytest
import torch
from _cases import CASES, torch_smoothing
from _models import build, make_batch, make_model, run
from fairseq import metrics
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion

from labo_fairseq.errors import UserError

WITH_CRITERION = [case for case in CASES if case.criterion]
OURS = sorted({case.criterion for case in WITH_CRITERION})


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("case", WITH_CRITERION, ids=str)
def test_equals_its_reference(task, model, batch, case, projection):
    """Loss and parameter gradients against autograd of the literal equation on the model's logits, in float64."""
    model.double()
    model.zero_grad()
    logits = model(**batch["net_input"])[0].flatten(0, 1)
    target = batch["target"].flatten()
    kept = target != task.target_dictionary.pad()
    expected = case.reference(logits[kept], target[kept]).sum()
    expected.backward()
    expected_grads = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    nll = torch.nn.functional.cross_entropy(logits[kept], target[kept], reduction="sum")

    criterion = build(task, case.criterion, projection=projection, **case.flags)
    loss, sample_size, log, grads = run(criterion, model, batch)
    torch.testing.assert_close(loss, expected.detach())
    torch.testing.assert_close(log["nll_loss"], nll.detach())
    assert sample_size == batch["ntokens"]
    assert grads.keys() == expected_grads.keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected_grads[name], msg=name)


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("prefix", [0, 2])
def test_fairseq_form_equals_fairseqs_own_criterion(task, model, batch, projection, prefix):
    theirs = LabelSmoothedCrossEntropyCriterion(task, False, 0.1, prefix, report_accuracy=True)
    ours = build(
        task,
        "label_smoothing",
        smoothing_form="fairseq",
        projection=projection,
        ignore_prefix_size=prefix,
        report_accuracy=True,
    )
    expected_loss, expected_size, expected_log, expected_grads = run(theirs, model, batch)
    loss, size, log, grads = run(ours, model, batch)
    torch.testing.assert_close(loss, expected_loss)
    assert log.keys() == expected_log.keys()
    # fairseq divides by the targets that it ignores too
    counted = sum(max(length - prefix, 0) for length in (7, 4, 2))
    assert size == log["ntokens"] == log["sample_size"] == counted
    assert (size == expected_size) == (prefix == 0)
    for key, value in expected_log.items():
        if key in ("ntokens", "sample_size"):
            continue
        assert float(log[key]) == pytest.approx(float(value), rel=1e-6), key
    for name, grad in expected_grads.items():
        torch.testing.assert_close(grads[name], grad, atol=2e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("case", WITH_CRITERION, ids=str)
def test_per_token_losses_add_up(task, model, batch, case, projection):
    criterion = build(task, case.criterion, projection=projection, **case.flags)
    loss, _, log, grads = run(criterion, model, batch)
    each, _, each_log, each_grads = run(criterion, model, batch, reduce=False)
    pad = batch["target"].flatten().eq(task.target_dictionary.pad())
    assert each.shape == pad.shape and (each[pad] == 0).all() and (each[~pad] != 0).all()
    torch.testing.assert_close(each.sum(), loss)
    torch.testing.assert_close(each_log["nll_loss"].sum(), log["nll_loss"])
    for name, grad in grads.items():
        torch.testing.assert_close(each_grads[name], grad, atol=1e-6, rtol=1e-4, msg=name)


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("case", WITH_CRITERION, ids=str)
def test_batch_split_and_padding_change_nothing(task, model, batch, case, projection):
    """A batch of three sentences, and each sentence alone without padding: same sums."""
    criterion = build(task, case.criterion, projection=projection, report_accuracy=True, **case.flags)
    _, _, whole, _ = run(criterion, model, batch)
    singles = []
    for row, length in enumerate(batch["target"].ne(task.target_dictionary.pad()).sum(1).tolist()):
        source_length = int(batch["net_input"]["src_lengths"][row])
        one = {
            "net_input": {
                "src_tokens": batch["net_input"]["src_tokens"][row : row + 1, :source_length],
                "src_lengths": batch["net_input"]["src_lengths"][row : row + 1],
                "prev_output_tokens": batch["net_input"]["prev_output_tokens"][row : row + 1, :length],
            },
            "target": batch["target"][row : row + 1, :length],
            "ntokens": length,
        }
        singles.append(run(criterion, model, one)[2])
    for key in whole:
        assert sum(float(log[key]) for log in singles) == pytest.approx(float(whole[key]), rel=1e-5), key


@pytest.mark.parametrize("name", OURS)
def test_paths_agree_and_say_which_one_runs(task, model, batch, name, caplog):
    with caplog.at_level(logging.INFO):
        loss, _, log, grads = run(build(task, name), model, batch)
        dense_loss, _, dense_log, dense_grads = run(build(task, name, projection="dense"), model, batch)
    torch.testing.assert_close(loss, dense_loss)
    assert log.keys() == dense_log.keys()
    for key, grad in grads.items():
        torch.testing.assert_close(grad, dense_grads[key], atol=2e-6, rtol=1e-4, msg=key)
    assert f"{name}: output projection and loss are fused" in caplog.text
    assert f"{name}: dense path (--projection dense)" in caplog.text


@pytest.mark.parametrize("tied", [True, False])
def test_untied_projections_fuse_too(task, batch, tied):
    model = make_model(task, tied=tied)
    _, _, _, grads = run(build(task, "labo", projection="fused"), model, batch)
    _, _, _, dense = run(build(task, "labo", projection="dense"), model, batch)
    assert grads.keys() == dense.keys()
    for key, grad in grads.items():
        torch.testing.assert_close(grad, dense[key], atol=2e-6, rtol=1e-4, msg=key)


def test_adaptive_softmax_takes_the_dense_path_and_says_why(task, batch, caplog):
    model = make_model(task, tied=False, adaptive_softmax_cutoff=[8, 16])
    with caplog.at_level(logging.INFO):
        loss, _, _, _ = run(build(task, "label_smoothing"), model, batch)
    assert "dense path (the model uses an adaptive softmax)" in caplog.text
    with torch.no_grad():  # fairseq's own log-probabilities have no working backward pass
        log_probs = model.get_normalized_probs(model(**batch["net_input"]), log_probs=True).flatten(0, 1)
    target = batch["target"].flatten()
    kept = target != task.target_dictionary.pad()
    expected = torch_smoothing(0.1)(log_probs[kept], target[kept]).sum()
    torch.testing.assert_close(loss, expected)
    with pytest.raises(UserError, match="--projection fused: the model uses an adaptive softmax"):
        build(task, "label_smoothing", projection="fused")(model, batch)


@pytest.mark.parametrize("name", OURS)
def test_sentence_average_counts_sentences(task, model, batch, name):
    assert run(build(task, name, sentence_avg=True), model, batch)[1] == 3


@pytest.mark.parametrize("name", OURS)
def test_validation_needs_no_gradient(task, model, batch, name):
    criterion = build(task, name, report_accuracy=True)
    expected, _, expected_log, _ = run(criterion, model, batch)
    with torch.no_grad():
        loss, _, log = criterion(model.eval(), batch)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, expected)
    assert float(log["n_correct"]) == float(expected_log["n_correct"])


@pytest.mark.parametrize("name", OURS)
def test_metrics_are_sums_in_base_two(task, model, batch, name):
    """Two workers' logs reduce to the numbers of their union, and ppl comes from the plain likelihood."""
    from fairseq import metrics

    criterion = build(task, name, report_accuracy=True)
    logs = [run(criterion, model, batch)[2] for _ in range(2)]
    with metrics.aggregate() as together:
        criterion.reduce_metrics(logs)
    shown = together.get_smoothed_values()
    nll = float(logs[0]["nll_loss"]) / batch["ntokens"] / math.log(2)
    assert shown["nll_loss"] == pytest.approx(nll, abs=1e-3)
    assert shown["ppl"] == pytest.approx(2**nll, rel=1e-2)
    assert shown["accuracy"] == pytest.approx(100 * float(logs[0]["n_correct"]) / batch["ntokens"], abs=1e-3)
    assert criterion.logging_outputs_can_be_summed()


BAD = [
    ("labo", {"rho": 1.5}, "--rho"),
    ("labo", {"rho": -0.1}, "--rho"),
    ("labo", {"rho": float("nan")}, "--rho"),
    ("labo", {"label_smoothing": 1.01}, "--label-smoothing"),
    ("labo", {"smoothing_temperature": 0.0}, "--smoothing-temperature"),
    ("labo", {"smoothing_temperature": -1.0}, "--smoothing-temperature"),
    ("labo", {"smoothing_temperature": float("inf")}, "--smoothing-temperature"),
    ("labo", {"smoothing_warmup_updates": -1}, "--smoothing-warmup-updates"),
    ("labo", {"ignore_prefix_size": -1}, "--ignore-prefix-size"),
    ("label_smoothing", {"label_smoothing": -0.5}, "--label-smoothing"),
    ("label_smoothing", {"smoothing_prior": "unigram", "smoothing_form": "fairseq"}, "--smoothing-form"),
    ("label_smoothing", {"prior_exponent": 0.0}, "--prior-exponent"),
    ("label_smoothing", {"prior_floor": -1.0}, "--prior-floor"),
]


@pytest.mark.parametrize("name, flags, flag", BAD)
def test_bad_values_name_their_flag(task, name, flags, flag):
    with pytest.raises(UserError, match=flag) as caught:
        build(task, name, **flags)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("prefix", [0, 2])
def test_report_calibration_logs_the_ece_of_the_validation_set(task, model, batch, projection, prefix):
    """Literally, from the model's probabilities, over two batches; in training nothing is counted."""
    criterion = build(task, "labo", projection=projection, report_calibration=True, ignore_prefix_size=prefix)
    assert not [key for key in criterion(model.train(), batch)[2] if "calibration" in key]
    model.eval()
    batches = [batch, make_batch(task.target_dictionary, (3, 9), seed=1)]
    with torch.no_grad(), metrics.aggregate() as aggregator:
        for one in batches:
            criterion.reduce_metrics([criterion(model, one)[2]])
    logged = aggregator.get_smoothed_values()

    confidence, correct = [], []
    for one in batches:
        p = model(**one["net_input"])[0].softmax(-1)[:, prefix:]
        target = one["target"][:, prefix:]  # padded on the right
        kept = target != task.target_dictionary.pad()
        confidence += p.max(-1).values[kept].tolist()
        correct += (p.argmax(-1) == target)[kept].tolist()
    expected = 0.0
    for b in range(15):
        inside = [i for i, c in enumerate(confidence) if b / 15 <= c < (b + 1) / 15]
        expected += abs(sum(correct[i] for i in inside) - sum(confidence[i] for i in inside)) / len(confidence)
    assert logged["ece"] == pytest.approx(expected, abs=6e-5)  # logged with 4 digits
    assert not [key for key in logged if key.startswith("_")]


@pytest.mark.parametrize("edge", [{"rho": 0.0}, {"rho": 1.0}, {"label_smoothing": 0.0}, {"label_smoothing": 1.0}])
def test_the_ends_of_the_ranges_are_allowed(task, model, batch, edge):
    loss, *_ = run(build(task, "labo", **edge), model, batch)
    assert loss.isfinite()
