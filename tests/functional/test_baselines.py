"""The baselines of LABO's Table 3: what the rows of _cases.py do not show."""

import pytest
import torch
import torch.nn.functional as F
from scipy import stats

from labo_fairseq.functional import (
    BetaSmoothing,
    ClassTable,
    CrossEntropy,
    Distillation,
    LabelSmoothing,
    VirtualTeacher,
    ZLossAround,
    given_logits,
    projection_loss,
    ranked_beta,
    table_divergence,
    token_loss,
)

EXACT = {"atol": 1e-12, "rtol": 1e-12}


def rows(count=7, types=11, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    logits = scale * torch.randn(count, types, generator=generator, dtype=torch.float64)
    return logits.requires_grad_(), torch.randint(types, (count,), generator=generator)


def value_and_gradient(value, at):
    return value.detach(), torch.autograd.grad(value.sum(), at)[0]


# --- CS-KD ---


@pytest.mark.parametrize("weight, temperature", [(1.0, 4.0), (3.0, 1.0)])
def test_class_wise_distillation_equals_the_released_form(weight, temperature):
    """Cross entropy of x alone, plus λT² times the divergence from the partner's tempered prediction, a constant."""
    logits, target = rows()
    partner, _ = rows(seed=1)
    q = torch.softmax(partner.detach() / temperature, 1)
    log_p = torch.log_softmax(logits / temperature, 1)
    expected = F.cross_entropy(logits, target, reduction="none")
    expected = expected + weight * temperature**2 * (q * (q.log() - log_p)).sum(1)
    loss = Distillation(weight, given_logits(partner), temperature, temperature, temperature**2, hard_weight=1.0)
    got = token_loss(logits, target, loss).loss
    torch.testing.assert_close(value_and_gradient(got, logits), value_and_gradient(expected, logits), **EXACT)
    assert partner.grad is None


# --- TF-reg ---


@pytest.mark.parametrize("softening, share", [("probs", 0.0105), ("log_probs", 0.0157)])
def test_what_the_softened_teacher_gives_the_true_class(softening, share):
    """Finding 10 of the field map: for K = 100, T = 20 the released code and a temperature of 20 differ."""
    right, wrong = VirtualTeacher(0.1, 20.0, softening=softening).shares(torch.tensor(100.0, dtype=torch.float64))
    assert float(right) == pytest.approx(share, abs=5e-5)
    assert float(right + 99 * wrong) == pytest.approx(1)


def test_teacher_free_regularization_is_label_smoothing():
    """With the student not tempered: the gradient of fairseq's form with ε = α(1−u_k), another constant."""
    logits, target = rows()
    right, _ = VirtualTeacher(0.4, 5.0).shares(torch.tensor(11.0, dtype=torch.float64))
    ours = token_loss(logits, target, VirtualTeacher(0.4, 5.0)).loss
    smoothing = token_loss(logits, target, LabelSmoothing(0.4 * (1 - float(right)), "fairseq")).loss
    torch.testing.assert_close(ours - smoothing, (ours - smoothing)[:1].expand(7), **EXACT)
    torch.testing.assert_close(value_and_gradient(ours, logits)[1], value_and_gradient(smoothing, logits)[1], **EXACT)


def test_a_certain_teacher():
    """correct = 1 leaves the others log 0: softened as log-probabilities it is the label itself."""
    logits, target = rows()
    got = token_loss(logits, target, VirtualTeacher(0.4, 5.0, 1.0, "log_probs")).loss
    torch.testing.assert_close(got, token_loss(logits, target, CrossEntropy()).loss, **EXACT)


# --- Beta smoothing ---


def test_draws_are_beta_and_follow_the_confidence():
    """The inverse distribution function by scipy, handed out by a literal ranking."""
    confidence, uniform = torch.rand(2, 50, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    confidence[7] = confidence[30]  # a tie: the earlier one is the less confident
    draws = sorted(stats.beta.ppf(uniform.numpy(), 3, 1))
    order = sorted(range(50), key=lambda i: (float(confidence[i]), i))
    expected = torch.empty(50, dtype=torch.float64)
    for draw, i in zip(draws, order, strict=True):
        expected[i] = draw
    torch.testing.assert_close(ranked_beta(confidence, uniform, 3.0), expected, **EXACT)


def test_beta_smoothing_equals_the_released_form():
    """Labels with b at the true class and (1−b)/(K−1) elsewhere, without the 1e-8 of the released code."""
    logits, target = rows()
    kept = torch.linspace(0, 1, 7, dtype=torch.float64)
    labels = ((1 - kept) / 10).unsqueeze(1).repeat(1, 11)
    for i, k in enumerate(target):
        labels[i, k] = kept[i]
    soft = -(labels * torch.log_softmax(logits, 1)).sum(1)
    expected = 0.4 * F.cross_entropy(logits, target, reduction="none") + 0.6 * soft
    got = token_loss(logits, target, BetaSmoothing(0.6, kept)).loss
    torch.testing.assert_close(value_and_gradient(got, logits), value_and_gradient(expected, logits), **EXACT)


def test_beta_smoothing_finds_its_rows_in_chunks_and_behind_padding():
    """The fused path works chunk by chunk on the rows that are left; each must get its own amount."""
    generator = torch.Generator().manual_seed(4)
    hidden = torch.randn(9, 5, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(11, 5, generator=generator, dtype=torch.float64)
    target = torch.tensor([3, 0, 5, 0, 7, 1, 2, 0, 9])  # 0 is padding
    loss = BetaSmoothing(0.6, torch.linspace(0, 1, 9, dtype=torch.float64))
    dense = token_loss(hidden @ weight.T, target, loss, 0).loss.sum()
    fused = projection_loss(hidden, weight, target, loss, ignore_index=0).total
    torch.testing.assert_close(value_and_gradient(fused, hidden), value_and_gradient(dense, hidden), **EXACT)


# --- KR-LS ---
# no row of _cases.py: a table of K×K is no loss for 32,000 types, nor for rows that lack some


def knowledge_refinery(logits, target, table, alpha):
    """Lines 6-10 of Algorithm 1 (Ding et al. 2021), row by row: the wrong classes alone, S without its diagonal."""
    residual = []
    for z, k in zip(logits, target.tolist(), strict=True):
        wrong = [j for j in range(len(z)) if j != k]
        p, q = torch.softmax(z[wrong], 0), torch.softmax(table[k, wrong], 0)
        residual.append((p * (p / q).log()).sum())
    return F.cross_entropy(logits, target, reduction="none") + alpha * torch.stack(residual)


@pytest.mark.parametrize("types", [2, 3, 11])
def test_class_table_equals_the_published_algorithm(types):
    logits, target = rows(types=types)
    table = torch.randn(types, types, dtype=torch.float64)
    got = token_loss(logits, target, ClassTable(0.4, table)).loss
    expected = knowledge_refinery(logits, target, table, 0.4)
    torch.testing.assert_close(value_and_gradient(got, logits), value_and_gradient(expected, logits), **EXACT)
    with_z = token_loss(logits, target, ZLossAround(ClassTable(0.4, table), 0.1)).loss
    expected = knowledge_refinery(logits, target, table, 0.4) + 0.1 * logits.logsumexp(1) ** 2
    torch.testing.assert_close(value_and_gradient(with_z, logits), value_and_gradient(expected, logits), **EXACT)


def test_class_table_in_half_precision_and_at_certainty():
    logits, target = rows()
    table = torch.randn(11, 11)
    half = logits.detach().bfloat16().requires_grad_()
    full = half.detach().float().requires_grad_()
    value, gradient = value_and_gradient(token_loss(half, target, ClassTable(0.4, table)).loss, half)
    expected, full_gradient = value_and_gradient(token_loss(full, target, ClassTable(0.4, table)).loss, full)
    torch.testing.assert_close(value, expected, atol=0, rtol=0)
    torch.testing.assert_close(gradient.float(), full_gradient, atol=1e-7, rtol=2**-8)
    certain = torch.tensor([[200.0, 0, 0, 0], [0, 200.0, 0, 0]], requires_grad=True)
    found = value_and_gradient(token_loss(certain, torch.tensor([0, 0]), ClassTable(0.4, table[:4, :4])).loss, certain)
    assert all(tensor.isfinite().all() for tensor in found)


def test_the_table_learns_the_other_divergence():
    """Line 9 of Algorithm 1, row by row: KL(q_res‖p_res), the model a constant, nothing on the diagonal."""
    logits, target = rows()
    table = torch.randn(11, 11, generator=torch.Generator().manual_seed(3), dtype=torch.float64, requires_grad=True)
    expected = 0.0
    for z, k in zip(logits.detach(), target.tolist(), strict=True):
        wrong = [j for j in range(11) if j != k]
        p, q = torch.softmax(z[wrong], 0), torch.softmax(table[k, wrong], 0)
        expected = expected + (q * (q.log() - p.log())).sum()
    got = table_divergence(table, logits, target)
    torch.testing.assert_close(value_and_gradient(got, table), value_and_gradient(expected, table), **EXACT)
    (gradient,) = torch.autograd.grad(table_divergence(table, logits, target), table)
    assert not gradient.diagonal().any() and gradient[target].any()
    assert not gradient[[k for k in range(11) if k not in target]].any()
    assert torch.autograd.grad(table_divergence(table, logits, target), logits, allow_unused=True) == (None,)


def test_a_type_that_the_model_lacks_takes_no_part():
    logits, target = rows(types=6)
    target = target.clamp(max=4)
    table = torch.randn(6, 6, dtype=torch.float64, requires_grad=True)
    with torch.no_grad():
        logits[:, 5] = float("-inf")
    whole = value_and_gradient(table_divergence(table, logits, target), table)
    small = table[:5, :5].detach().requires_grad_()
    value, gradient = value_and_gradient(table_divergence(small, logits[:, :5], target), small)
    torch.testing.assert_close(whole, (value, F.pad(gradient, (0, 1, 0, 1))), **EXACT)
    got = token_loss(logits, target, ClassTable(0.4, table.detach())).loss
    expected = knowledge_refinery(logits[:, :5], target, table.detach()[:5, :5], 0.4)
    torch.testing.assert_close(value_and_gradient(got, logits), value_and_gradient(expected, logits), **EXACT)
