"""Beam search and scorer over calibrated members, against literal equations on the models' own logits."""

import math

import pytest
import torch
from _models import make_batch, make_model, make_task
from fairseq.sequence_generator import SequenceGenerator
from fairseq.sequence_scorer import SequenceScorer

from labo_fairseq.decoding.members import CalibratedEnsemble, CalibratedMember, NonFiniteLogits, place_references
from labo_fairseq.functional.calibrators import Adaptive, Grouped, Temperature

TASK = make_task()
V = len(TASK.target_dictionary)
EOS = TASK.target_dictionary.eos()
CALIBRATORS = {
    "temperature": Temperature(0.6),
    "grouped": Grouped(torch.tensor([0.5, 1.5]), torch.arange(V) % 2, EOS, 0.4),
    "adaptive": Adaptive(torch.tensor([0.1, -0.4, 0.02, 0.3, -0.2])),
}


def models(count=2):
    found = [make_model(TASK).eval() for _ in range(count)]
    for seed, model in enumerate(found):
        generator = torch.Generator().manual_seed(seed)
        for parameter in model.parameters():
            parameter.data += 0.5 * torch.randn(parameter.shape, generator=generator)
    return found


def members(found, calibrators, weights=None):
    weights = weights or [1.0] * len(found)
    rows = zip(found, calibrators, weights, strict=True)
    return [CalibratedMember(model, f"{i}.pt", c, w) for i, (model, c, w) in enumerate(rows)]


def beam_search(found, batch, beam=3):
    generator = SequenceGenerator(found, TASK.target_dictionary, beam_size=beam, max_len_a=0, max_len_b=9)
    generator.model = CalibratedEnsemble(found).eval()
    return generator.generate(found, batch)


@torch.no_grad()
def averaged(found, calibrators, weights, source, tokens):
    """log Σ_i w_i·p_i of each token, one sentence alone, teacher-forced: the definition, without any cache."""
    previous = torch.cat([torch.tensor([EOS]), tokens[:-1]])[None]
    lengths = torch.tensor([len(source)])
    positions, source_lengths = torch.arange(len(tokens))[None], lengths[:, None].expand(1, len(tokens))
    total = 0
    for model, calibrator, weight in zip(found, calibrators, weights, strict=True):
        logits = model(source[None], lengths, previous)[0].double()
        p = calibrator.log_probs(logits, positions, source_lengths).exp()
        total = total + weight / sum(weights) * p[0].gather(1, tokens[:, None])[:, 0]
    return total.log()


@pytest.fixture
def batch():
    found = make_batch(TASK.target_dictionary, lengths=(7, 4, 2))
    found["id"] = torch.tensor([5, 3, 8])
    # the sources are padded on the left, as fairseq's translation task does
    rows = [row[row != TASK.source_dictionary.pad()] for row in found["net_input"]["src_tokens"]]
    padded = torch.full_like(found["net_input"]["src_tokens"], TASK.source_dictionary.pad())
    for i, row in enumerate(rows):
        padded[i, padded.size(1) - len(row) :] = row
    found["net_input"]["src_tokens"] = padded
    found["net_input"]["src_lengths"] = torch.tensor([len(row) for row in rows])
    return found


def source(batch, i):
    row = batch["net_input"]["src_tokens"][i]
    return row[row != TASK.source_dictionary.pad()]


@pytest.mark.parametrize("kind", CALIBRATORS)
@pytest.mark.parametrize("weights", [(1, 1), (3, 1)])
def test_scores_of_beam_search_are_the_weighted_average_of_calibrated_members(kind, weights, batch):
    """Each member its own calibrator; sentences end at different steps, so positions and lengths must follow them."""
    found, calibrators = models(), [CALIBRATORS[kind], Temperature(1.3)]
    ours = members(found, calibrators, [2 * weight / sum(weights) for weight in weights])
    for i, beams in enumerate(beam_search(ours, batch)):
        for hypothesis in beams:
            expected = averaged(found, calibrators, weights, source(batch, i), hypothesis["tokens"])
            torch.testing.assert_close(hypothesis["positional_scores"].double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("kind", CALIBRATORS)
@pytest.mark.parametrize("count", [1, 2])
def test_the_scorer_of_references_applies_the_calibrators_too(kind, count, batch):
    found, calibrators = models(count), [CALIBRATORS[kind]] * count
    ours = members(found, calibrators)
    place_references(ours, batch)
    for i, (hypothesis,) in enumerate(SequenceScorer(TASK.target_dictionary).generate(ours, batch)):
        expected = averaged(found, calibrators, [1] * count, source(batch, i), hypothesis["tokens"])
        torch.testing.assert_close(hypothesis["positional_scores"].double(), expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("count", [1, 2])
def test_without_calibrators_beam_search_is_fairseqs_bit_for_bit(count, batch):
    found = models(count)
    stock = SequenceGenerator(found, TASK.target_dictionary, beam_size=3, max_len_a=0, max_len_b=9)
    for ours, theirs in zip(
        beam_search(members(found, [None] * count), batch), stock.generate(found, batch), strict=True
    ):
        for a, b in zip(ours, theirs, strict=True):
            assert a["tokens"].tolist() == b["tokens"].tolist()
            assert a["positional_scores"].tolist() == b["positional_scores"].tolist() and a["score"] == b["score"]


@pytest.mark.parametrize("temperature", [0.3, 0.9, 4.0])
def test_the_greedy_text_of_one_model_does_not_change_with_a_scalar(temperature, batch):
    found = models(1)
    plain = beam_search(members(found, [None]), batch, beam=1)
    calibrated = beam_search(members(found, [Temperature(temperature)]), batch, beam=1)
    assert [h[0]["tokens"].tolist() for h in plain] == [h[0]["tokens"].tolist() for h in calibrated]
    assert plain[0][0]["score"] != calibrated[0][0]["score"]


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("kind", [None, *CALIBRATORS])
def test_one_nan_or_infinite_logit_is_found(value, kind):
    member = CalibratedMember(make_model(TASK), "broken.pt", CALIBRATORS.get(kind))
    member.positions, member.source_lengths = torch.zeros(2, 1, dtype=torch.long), torch.full((2, 1), 4)
    logits = torch.randn(2, 1, V)
    logits[1, 0, V - 1] = -math.inf  # this type is ruled out, which is no error
    member.get_normalized_probs((logits, None), log_probs=True)
    logits[1, 0, 7] = value
    with pytest.raises(NonFiniteLogits, match=r"broken\.pt"):
        member.get_normalized_probs((logits, None), log_probs=True)


def test_a_member_leaves_its_model_alone(batch):
    """Validation computes the loss with the model itself, which must not be calibrated then."""
    (model,) = models(1)
    before = set(vars(model))
    beam_search(members([model], [Temperature(0.5)]), batch)
    logits = torch.randn(1, 1, V)
    torch.testing.assert_close(model.get_normalized_probs((logits, None), True), torch.log_softmax(logits, -1))
    assert set(vars(model)) == before
