"""A criterion and the module of losses.py are two faces of one loss: equal values and gradients on a model."""

import pytest
import torch
from _models import build, run

from labo_fairseq import losses

FACES = {
    "labo": ({"smoothing_warmup_updates": 0}, losses.Labo()),
    "labo, fixed": (
        {"smoothing_warmup_updates": 0, "smoothing_mass": "fixed", "label_smoothing": 0.3},
        losses.Labo(mass=0.3),
    ),
    "label_smoothing": ({"label_smoothing": 0.2}, losses.LabelSmoothing(0.2)),
    "label_smoothing, fairseq": (
        {"label_smoothing": 0.2, "smoothing_form": "fairseq"},
        losses.LabelSmoothing(0.2, "fairseq"),
    ),
    "confidence_penalty": ({}, losses.ConfidencePenalty()),
    "focal_loss": ({}, losses.Focal()),
    "anti_focal_loss": ({}, losses.AntiFocal()),
    "generalized_entropy": ({}, losses.GeneralizedEntropy()),
    "focal_loss, z-loss": ({"z_loss": 0.01}, losses.ZLoss(losses.Focal(), 0.01)),
    "forward_correction": (
        {"noise_rate": 0.3},
        losses.RegularizedLoss(losses.functional.ForwardCorrection(0.3)),
    ),
}


@pytest.mark.parametrize("projection", ["fused", "dense"])
@pytest.mark.parametrize("name", FACES)
def test_two_faces_of_one_loss(task, model, batch, name, projection):
    """With their defaults, where no flag is given: those of the module are the flags'."""
    flags, module = FACES[name]
    expected, _, _, gradients = run(build(task, name.partition(",")[0], projection=projection, **flags), model, batch)
    module.ignore_index = 1
    model.zero_grad()
    output, target = batch["net_input"], batch["target"]
    assert task.target_dictionary.pad() == 1
    if projection == "dense":
        module.class_dim = -1
        value = module(model(**output)[0], target, reduction="sum")
    else:
        hidden = model(**output, features_only=True)[0]
        value = module(hidden, target, weight=model.decoder.output_projection.weight, reduction="sum")
    value.backward()
    torch.testing.assert_close(value.detach(), expected)
    for key, parameter in model.named_parameters():
        if key in gradients:
            torch.testing.assert_close(parameter.grad, gradients[key], atol=1e-6, rtol=1e-5)
