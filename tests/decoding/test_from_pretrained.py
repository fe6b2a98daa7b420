"""Calibrated tasks through fairseq's Python interface: `from_pretrained`, where no --path tells the checkpoints."""

import os

import pytest
import torch

import labo_fairseq
from labo_fairseq.errors import UserError
from labo_fairseq.functional.calibrators import Temperature


@pytest.fixture
def load(tiny_bin):
    """Function: a GeneratorHubInterface of some checkpoints of one folder, or of several with absolute paths."""
    labo_fairseq.register()
    from fairseq.models.transformer import TransformerModel
    from fairseq.tasks import TASK_REGISTRY

    def run(paths, **task):
        files = os.pathsep.join(map(str, paths))
        hub = TransformerModel.from_pretrained("/", checkpoint_file=files, data_name_or_path=str(tiny_bin), task=task)
        assert type(hub.task) is TASK_REGISTRY[task.get("_name", "translation")]
        return hub

    return run


def best(hub, tiny_bin):
    """(tokens, positional scores) of the translation of the first word of the dictionary."""
    words = torch.tensor([hub.src_dict.nspecial, hub.src_dict.eos()])
    (hypotheses,) = hub.generate([words], beam=2)
    return hypotheses[0]["tokens"].tolist(), hypotheses[0]["positional_scores"]


@pytest.mark.parametrize("count", [1, 2])
def test_without_a_calibration_it_is_the_task_it_is_made_of(load, tiny_bin, checkpoints, count):
    stock = best(load(checkpoints[:count]), tiny_bin)
    ours = best(load(checkpoints[:count], _name="calibrated_translation"), tiny_bin)
    assert stock[0] == ours[0] and torch.equal(stock[1], ours[1])


@pytest.mark.parametrize("count", [1, 2])
def test_with_a_calibration(load, tiny_bin, checkpoints, calibrate, count):
    """One temperature for all members is fairseq's own --temperature, which generate() takes too."""
    file = calibrate(*((path, Temperature(1.7)) for path in checkpoints[:count]))
    hub = load(checkpoints[:count], _name="calibrated_translation", calibration=str(file))
    tokens, scores = best(hub, tiny_bin)
    stock = load(checkpoints[:count])
    words = torch.tensor([stock.src_dict.nspecial, stock.src_dict.eos()])
    expected = stock.generate([words], beam=2, temperature=1.7)[0][0]
    assert tokens == expected["tokens"].tolist()
    assert torch.allclose(scores, expected["positional_scores"], atol=1e-6)


def test_members_are_matched_by_their_files(load, tiny_bin, checkpoints, calibrate):
    """The same calibration, its members in the other order than the checkpoints."""
    forward = calibrate((checkpoints[0], Temperature(3.0)), (checkpoints[1], Temperature(0.5)), name="a.json")
    backward = calibrate((checkpoints[1], Temperature(0.5)), (checkpoints[0], Temperature(3.0)), name="b.json")
    one, other = (
        best(load(checkpoints, _name="calibrated_translation", calibration=str(file)), tiny_bin)
        for file in (forward, backward)
    )
    assert one[0] == other[0] and torch.equal(one[1], other[1])


def test_a_calibration_of_another_checkpoint_is_refused(load, tiny_bin, checkpoints, calibrate):
    file = calibrate((checkpoints[0], Temperature(2.0)))
    hub = load(checkpoints[1:], _name="calibrated_translation", calibration=str(file))
    with pytest.raises(UserError, match=f"was not fitted to .*{checkpoints[1].name}"):
        best(hub, tiny_bin)


def test_too_few_calibrators_are_counted(load, tiny_bin, checkpoints, calibrate):
    file = calibrate((checkpoints[0], Temperature(2.0)))
    hub = load(checkpoints, _name="calibrated_translation", calibration=str(file), calibration_mismatch="warn")
    with pytest.raises(UserError, match="holds 1 calibrators for 2 checkpoints"):
        best(hub, tiny_bin)
