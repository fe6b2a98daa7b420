"""LABO's warm-up: uniform smoothing for the first T_w updates, by the number that the trainer tells the model."""

import logging
import math

import pytest
import torch
from _models import build, make_batch, run

from labo_fairseq.errors import UserError


def losses(task, model, batch, updates, warmup=10):
    if updates is not None:
        model.set_num_updates(updates)
    return run(build(task, "labo", smoothing_warmup_updates=warmup), model, batch)


@pytest.mark.parametrize("updates", [0, 9])
def test_uniform_smoothing_before(task, model, batch, updates):
    loss, _, _, grads = losses(task, model, batch, updates)
    uniform, _, _, uniform_grads = run(build(task, "label_smoothing"), model, batch)
    torch.testing.assert_close(loss, uniform, atol=0, rtol=0)
    for name, grad in grads.items():
        torch.testing.assert_close(grad, uniform_grads[name], atol=0, rtol=0)


@pytest.mark.parametrize("updates", [10, 11, 5000])
def test_another_gradient_after(task, model, batch, updates):
    loss, _, log, grads = losses(task, model, batch, updates)
    _, _, uniform_log, uniform_grads = run(build(task, "label_smoothing"), model, batch)
    never, *_ = run(build(task, "labo", smoothing_warmup_updates=0), model, batch)
    torch.testing.assert_close(loss, never, atol=0, rtol=0)
    assert log.keys() - uniform_log.keys() == {"alpha", "entropy", "entropy_tokens", "under_p_star"}
    name = "decoder.layers.0.fc2.weight"
    assert (grads[name] - uniform_grads[name]).norm() > 0.1 * uniform_grads[name].norm()


def test_a_model_that_was_never_told_is_past_the_warm_up(task, model, batch):
    """fairseq-validate tells no number: it shows LABO's own objective."""
    never, *_ = run(build(task, "labo", smoothing_warmup_updates=0), model, batch)
    torch.testing.assert_close(losses(task, model, batch, None)[0], never, atol=0, rtol=0)


def test_evaluation_and_accumulation_do_not_count(task, model, batch):
    """Only the trainer's number moves the boundary, however often the criterion runs in between."""
    criterion = build(task, "labo", smoothing_warmup_updates=2)
    uniform, *_ = run(build(task, "label_smoothing"), model, batch)
    model.set_num_updates(1)
    for _ in range(5):
        with torch.no_grad():
            criterion(model, batch)
        torch.testing.assert_close(run(criterion, model, batch)[0], uniform, atol=0, rtol=0)
    model.set_num_updates(2)
    assert run(criterion, model, batch)[0] != uniform


def test_the_end_of_the_warm_up_is_logged_once(task, model, batch, caplog):
    criterion = build(task, "labo", smoothing_warmup_updates=1)
    with caplog.at_level(logging.INFO):
        for updates in range(4):
            model.set_num_updates(updates)
            run(criterion, model, batch)
    assert caplog.text.count("warm-up of 1 updates is over, P* in use from update 1") == 1


def test_the_number_arrives_through_data_parallel_wrappers(task, model, batch):
    from fairseq.distributed import ModuleProxyWrapper
    from torch import nn

    class Wrapper(nn.Module):
        def __init__(self, module):
            super().__init__()
            self.module = module

    wrapped = ModuleProxyWrapper(Wrapper(model))
    wrapped.set_num_updates(3)
    from labo_fairseq.compat.updates import updates_done

    assert updates_done(model) == 3 and updates_done(wrapped) == 3


@pytest.mark.parametrize("warmup, max_update", [(100, 100), (5000, 100)])
def test_a_warm_up_that_never_ends_is_an_error_that_names_both_flags(task, warmup, max_update):
    with pytest.raises(UserError, match=r"--smoothing-warmup-updates.*--max-update"):
        build(task, "labo", smoothing_warmup_updates=warmup, max_update=max_update)


def test_no_given_end_is_no_error(task):
    build(task, "labo", smoothing_warmup_updates=5000, max_update=0)


@pytest.mark.parametrize(
    "flags, batches, updates",
    [
        ({"max_update": 30000}, None, 900),  # 3 %
        ({"max_update": 20}, 500, 1),  # 0.6, and one update at least
        ({"max_epoch": 10}, 100, 30),  # of 1,000
        ({"max_epoch": 10, "update_freq": [4]}, 101, 8),  # of 10 epochs of 26 updates, the last of one batch
        ({"max_epoch": 3, "update_freq": [1, 2]}, 100, 6),  # of 100 + 50 + 50
        ({"max_epoch": 10, "max_update": 500}, 100, 15),  # the shorter of the two
        ({"max_epoch": 10}, None, 5000),  # an epoch of unknown length
        ({}, 100, 5000),  # no end: the paper's
    ],
)
def test_a_warm_up_that_nobody_names_is_a_share_of_the_run(task, flags, batches, updates):
    criterion = build(task, "labo", **flags)
    criterion.set_batches(batches)
    assert criterion.warmup == updates


def test_the_chosen_number_is_logged_once(task, caplog):
    criterion = build(task, "labo", max_epoch=10)
    with caplog.at_level(logging.INFO):
        for _ in range(3):  # once for each epoch
            criterion.set_batches(100)
    assert caplog.text.count("--smoothing-warmup-updates auto: 30 updates (3 % of 1000)") == 1


@pytest.mark.parametrize("text", ["automatic", "1e3", "0.5", "", "-", "٣x"])
def test_a_number_of_updates_or_auto(task, text):
    with pytest.raises(UserError, match="give a whole number of updates, or auto"):
        build(task, "labo", smoothing_warmup_updates=text)


def test_a_resumed_training_keeps_what_auto_chose(task):
    """Otherwise a longer --max-update would lead from P* back to uniform smoothing."""
    begun = build(task, "labo", max_update=1000)
    resumed = build(task, "labo", max_update=100000)
    resumed.restore(begun.state_to_keep())
    resumed.set_batches(100)
    assert resumed.warmup == begun.warmup == 30
    named = build(task, "labo", max_update=100000, smoothing_warmup_updates=700)
    named.restore(begun.state_to_keep())
    assert named.warmup == 700


def logged(task, model, batches, updates, **flags):
    """What fairseq would log of one update of a worker for each batch."""
    from fairseq import metrics

    criterion = build(task, "labo", smoothing_warmup_updates=2, **flags)
    model.set_num_updates(updates)
    model.train()
    logs = [criterion(model, batch)[2] for batch in batches]
    with metrics.aggregate(new_root=True) as aggregate:
        type(criterion).reduce_metrics(logs)
    return logs, aggregate.get_smoothed_values()


@pytest.mark.parametrize("projection", ["fused", "dense"])
def test_the_curves_of_a_training(task, model, projection):
    """α = 1 − ρ·H/log K and H of the tokens, from the model's own logits; two workers, of which one has more tokens."""
    batches = [make_batch(task.target_dictionary, lengths, seed) for seed, lengths in enumerate([(7, 4, 2), (3,)])]
    entropy = []
    with torch.no_grad():
        for batch in batches:
            log_p = torch.log_softmax(model(**batch["net_input"])[0].double(), -1)
            entropy.append(-(log_p.exp() * log_p).sum(-1)[batch["target"].ne(task.target_dictionary.pad())])
    entropy = torch.cat(entropy)
    logs, values = logged(task, model, batches, 2, rho=0.4, projection=projection)
    types = len(task.target_dictionary)
    assert values["entropy"] == pytest.approx(entropy.mean().item() / math.log(2), abs=6e-4)
    assert values["alpha"] == pytest.approx(1 - 0.4 * entropy.mean().item() / math.log(types), abs=6e-5)
    assert values["under_p_star"] == 1
    warm, values = logged(task, model, batches, 1, rho=0.4, label_smoothing=0.2)
    assert values["alpha"] == pytest.approx(0.2) and values["under_p_star"] == 0 and "entropy" not in values
    assert warm[0].keys() == logs[0].keys()


@pytest.mark.parametrize(
    "flags, alpha", [({"smoothing_mass": "fixed", "label_smoothing": 0.3}, 0.3), ({"rho": 0}, 1.0)]
)
def test_the_curve_of_a_mass_that_stands_still(task, model, batch, flags, alpha):
    _, values = logged(task, model, [batch], 2, **flags)
    assert values["alpha"] == pytest.approx(alpha) and values["under_p_star"] == 1


def test_two_dropout_passes_count_once(task, model, batch):
    """Without dropout both passes are equal, and so are the means."""
    _, once = logged(task, model, [batch], 2)
    _, twice = logged(task, model, [batch], 2, rdrop_weight=1.0, z_loss=1e-4)
    assert twice["alpha"] == once["alpha"] and twice["entropy"] == once["entropy"]


def test_validation_logs_no_curves(task, model, batch):
    criterion = build(task, "labo", smoothing_warmup_updates=0)
    model.eval()
    assert "alpha" not in criterion(model, batch)[2]
