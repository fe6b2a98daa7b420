"""torch_sgd against the equations that it stands for, and multi_step against torch's own schedule."""

import pytest
import torch
from fairseq.optim import OPTIMIZER_REGISTRY, build_optimizer
from fairseq.optim.lr_scheduler import LR_SCHEDULER_REGISTRY, build_lr_scheduler
from omegaconf import OmegaConf

import labo_fairseq
from labo_fairseq.errors import UserError
from labo_fairseq.vision.optimizer import TorchSGDConfig
from labo_fairseq.vision.schedule import MultiStepConfig

labo_fairseq.register()


def named(**values):
    """Parameters as an image model names them."""
    parameters = []
    for name, value in values.items():
        parameter = torch.nn.Parameter(torch.tensor([value], dtype=torch.float64))
        parameter.param_group = name.replace("__", ".")
        parameters.append(parameter)
    return parameters


def make_optimizer(parameters, lr=0.5, **flags):
    cfg = OmegaConf.merge(OmegaConf.structured(TorchSGDConfig()), {"lr": [lr], **flags})
    cfg._name = "torch_sgd"
    return build_optimizer(cfg, parameters)


def descend(optimizer, parameters, gradients):
    for gradient in gradients:
        for parameter in parameters:
            parameter.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
    return [float(parameter) for parameter in parameters]


def test_it_is_registered():
    assert "torch_sgd" in OPTIMIZER_REGISTRY and "multi_step" in LR_SCHEDULER_REGISTRY


def test_gradient_smoothing_of_mueller_et_al():
    """A.5: "gradient smoothing corresponding to 0.9 times previous gradient plus 0.1 the current one"."""
    parameters = named(body__fc1__weight=1.0)
    got = descend(make_optimizer(parameters, 1.0, momentum=0.9, dampening=0.9), parameters, [2.0, 4.0, -1.0])
    smooth, expected = 2.0, 1.0 - 2.0  # torch starts with the first gradient itself
    for gradient in (4.0, -1.0):
        smooth = 0.9 * smooth + 0.1 * gradient
        expected -= smooth
    assert got == pytest.approx([expected], abs=1e-12)


def test_nesterov_momentum():
    """v ← μv + g, w ← w − lr(g + μv) (Sutskever et al. 2013, in the form of torch's documentation)."""
    parameters = named(w=1.0)
    got = descend(make_optimizer(parameters, 0.1, momentum=0.9, nesterov=True), parameters, [1.0, 2.0])
    velocity, weight = 0.0, 1.0
    for gradient in (1.0, 2.0):
        velocity = 0.9 * velocity + gradient
        weight -= 0.1 * (gradient + 0.9 * velocity)
    assert got == pytest.approx([weight], abs=1e-12)


def test_layers_have_their_own_rates_and_decay():
    parameters = named(body__fc1__weight=1.0, body__fc2__weight=1.0, body__fc2x__weight=1.0, classifier__bias=1.0)
    flags = {"layer_lr": "classifier=0.1, body.fc2=2", "layer_weight_decay": "body.fc2=0.04,body=0.5"}
    got = descend(make_optimizer(parameters, 0.5, momentum=0.0, weight_decay=0.01, **flags), parameters, [1.0])
    rates, decays = (0.5, 1.0, 0.5, 0.05), (0.5, 0.04, 0.5, 0.01)  # the longest name wins, and only whole parts of it
    assert got == pytest.approx([1 - rate * (1 + decay) for rate, decay in zip(rates, decays, strict=True)], abs=1e-12)


def test_a_schedule_keeps_the_factors():
    parameters = named(body__weight=1.0, classifier__weight=1.0)
    optimizer = make_optimizer(parameters, 0.5, layer_lr="classifier=0.1")
    optimizer.set_lr(0.2)
    assert optimizer.get_lr() == 0.2
    assert sorted(group["lr"] for group in optimizer.param_groups) == pytest.approx([0.02, 0.2])
    state = optimizer.state_dict()
    again = make_optimizer(parameters, 0.5, layer_lr="classifier=0.1")
    again.load_state_dict(state)
    again.set_lr(1.0)
    assert sorted(group["lr"] for group in again.param_groups) == pytest.approx([0.1, 1.0])


def test_one_flat_tensor_only_without_settings_of_layers():
    parameters = named(classifier__weight=1.0)
    assert make_optimizer(parameters).supports_flat_params
    assert not make_optimizer(parameters, layer_lr="classifier=0.1").supports_flat_params


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"layer_lr": "clasifier=0.1"}, "--layer-lr: no layer clasifier: the state dict has body.fc1, classifier"),
        ({"layer_lr": "classifier"}, "--layer-lr: 'classifier' is not LAYER=NUMBER"),
        ({"layer_weight_decay": "classifier=-1"}, "--layer-weight-decay classifier: -1.0 is out of range"),
        ({"momentum": 1.5}, "--momentum: 1.5"),
        ({"dampening": -0.1}, "--dampening: -0.1"),
        ({"nesterov": True, "dampening": 0.1}, "--nesterov: needs --momentum above 0 and --dampening 0"),
    ],
)
def test_mistakes(flags, message):
    with pytest.raises(UserError, match=message):
        make_optimizer(named(body__fc1__0__weight=1.0, classifier__weight=1.0), **flags)


def test_parameters_without_names():
    with pytest.raises(UserError, match="--layer-lr: the parameters have no names here"):
        make_optimizer([torch.nn.Parameter(torch.zeros(1))], layer_lr="classifier=0.1")


# --- multi_step ---


def make_schedule(milestones, lr=0.1, **flags):
    optimizer = make_optimizer(named(w=1.0), lr)
    cfg = OmegaConf.merge(OmegaConf.structured(MultiStepConfig), {"lr": [lr], "lr_milestones": milestones, **flags})
    cfg._name = "multi_step"
    return build_lr_scheduler(cfg, optimizer)


def test_multi_step_is_torchs_multi_step_lr():
    """LABO, section 4.2: "starts at 0.1 and is then divided by 5 at epochs 60, 120 and 160", of 200."""
    schedule = make_schedule([60, 120, 160], lr_factor=0.2)
    theirs = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    torchs = torch.optim.lr_scheduler.MultiStepLR(theirs, [60, 120, 160], 0.2)
    for epoch in range(1, 201):
        schedule.step_begin_epoch(epoch)
        schedule.step_update(epoch * 351)
        assert schedule.optimizer.get_lr() == pytest.approx(theirs.param_groups[0]["lr"], rel=1e-12), epoch
        theirs.step()
        torchs.step()
    assert schedule.optimizer.get_lr() == pytest.approx(0.1 / 125)


def test_multi_step_in_updates():
    schedule = make_schedule([3, 5], lr_milestone_unit="update")
    rates = []
    for update in range(7):
        rates.append(schedule.step_update(update))
        schedule.step_begin_epoch(9)  # changes nothing
    assert rates == pytest.approx([0.1, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize("milestones", [[0, 3], [5, 3], [4, 4]])
def test_multi_step_mistakes(milestones):
    with pytest.raises(UserError, match=r"--lr-milestones: .*give increasing numbers above 0"):
        make_schedule(milestones)
