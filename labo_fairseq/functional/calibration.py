"""Calibration measures of a classifier's predictions, here the next token.

Two forms, both additive over batches and workers: `BinSums`, a few sums per bin of confidence, which add with `+`; and
`TokenStatistics`, a few numbers per token, which concatenate. ECE, MCE, Brier and NLL need the sums alone; the measures
that rank tokens (adaptive ECE, area under the risk-coverage curve) need the tokens, and are exact so.

The confidence is the probability of the predicted (most probable) type, and a prediction is correct where that type is
the target. Bins are of equal width and left-closed, [b/B, (b+1)/B), with 1.0 in the last one.
"""

from dataclasses import dataclass
from typing import NamedTuple

import torch

BINS = 15


class TokenStatistics(NamedTuple):
    """Per token, each (N,): confidence in [0, 1], predicted type, whether it is the target, nll in nats, and the
    Brier score Σ_j (p_j − [j is the target])², in [0, 2]."""

    confidence: torch.Tensor
    predicted: torch.Tensor
    correct: torch.Tensor
    nll: torch.Tensor
    brier: torch.Tensor

    @classmethod
    def of(cls, log_probs, target):
        """Statistics of log-probabilities (N, K) in nats and targets (N,); a masked target has an infinite nll."""
        p = log_probs.exp()
        confidence, predicted = p.max(dim=1)
        log_p = log_probs.gather(1, target.unsqueeze(1)).squeeze(1)
        brier = p.square_().sum(1) - 2 * log_p.exp() + 1
        return cls(confidence, predicted, predicted.eq(target), -log_p, brier)

    @classmethod
    def concatenate(cls, parts):
        """The tokens of all parts, in order."""
        return cls(*map(torch.cat, zip(*parts, strict=True)))

    def select(self, index):
        """The tokens that a mask or index picks."""
        return TokenStatistics(*(x[index] for x in self))


@dataclass(frozen=True)
class BinSums:
    """Sums over the tokens of each bin, float64: `count`, `confidence` and `correct`, (…, B); `+` joins two sets.

    Leading dimensions are as many independent sets, such as bootstrap samples.
    """

    count: torch.Tensor
    confidence: torch.Tensor
    correct: torch.Tensor

    @classmethod
    def of(cls, confidence, correct, bins=BINS):
        """Sums of tokens with these confidences, (N,) in [0, 1], and whether each is correct, (N,), bool or 0/1."""
        index = bin_index(confidence, bins)
        return cls(
            _sum_by(index, torch.ones_like(confidence, dtype=torch.float64), bins),
            _sum_by(index, confidence, bins),
            _sum_by(index, correct, bins),
        )

    def __add__(self, other):
        return BinSums(self.count + other.count, self.confidence + other.confidence, self.correct + other.correct)

    def ece(self):
        """Expected calibration error Σ_b n_b/N·|accuracy_b − confidence_b| (Guo et al. 2017, eq. 3), in [0, 1].

        NaN without tokens.
        """
        return (self.correct - self.confidence).abs().sum(-1) / self.count.sum(-1)

    def mce(self):
        """Largest |accuracy_b − confidence_b| of a bin with tokens (Guo et al. 2017, eq. 5); NaN without tokens."""
        gap = (self.correct - self.confidence).abs() / self.count.clamp(min=1)
        return torch.where(self.count.sum(-1) > 0, gap.amax(-1), torch.nan)

    def accuracy(self):
        """Share of correct tokens of each bin, (…, B); NaN where it is empty."""
        return self.correct / self.count

    def mean_confidence(self):
        """Mean confidence of each bin, (…, B); NaN where it is empty."""
        return self.confidence / self.count


def bin_index(confidence, bins=BINS):
    """The bin of each confidence in [0, 1], int64 in 0..bins−1; NaN falls into the last one and turns its sums to NaN.

    The edges are those of linspace in the confidences' own precision, as torchmetrics has them.
    """
    edges = torch.linspace(0, 1, bins + 1, dtype=confidence.dtype, device=confidence.device)
    return torch.bucketize(confidence, edges[1:-1], right=True)


def adaptive_ece(confidence, correct, bins=BINS):
    """ECE over bins of equal mass (Nguyen & O'Connor 2015): tokens sorted by confidence, cut into `bins` equal parts.

    The first N mod B parts hold one token more. Tied confidences share their mean correctness, so that the value does
    not depend on the order of the tokens. NaN without tokens.
    """
    confidence, correct = _ranked(confidence, correct)
    gaps = (correct - confidence).tensor_split(bins)
    return (
        sum(gap.sum().abs() for gap in gaps) / len(confidence) if len(confidence) else confidence.new_tensor(torch.nan)
    )


def risk_coverage_area(confidence, correct):
    """Area under the risk-coverage curve (Geifman & El-Yaniv 2017), in [0, 1]; lower is better.

    The mean, over coverages 1/N, 2/N, …, 1, of the error rate of the most confident tokens. Tied confidences share
    their mean correctness. It looks at the ranking only, which a scalar temperature hardly changes. NaN without tokens.
    """
    confidence, correct = _ranked(confidence, correct)
    covered = torch.arange(1, len(correct) + 1, dtype=torch.float64, device=correct.device)
    return (1 - correct.flip(0).cumsum(0) / covered).mean()


def ece_of_a_calibrated_model(confidence, draws=200, bins=BINS, seed=0):
    """ECE of `draws` label sets that are drawn with just these confidences, (draws,), float64.

    A finite sample of a perfectly calibrated model has an ECE above 0; a measured ECE within this distribution gives
    no evidence of miscalibration.
    """
    generator = torch.Generator().manual_seed(seed)
    confidence = confidence.detach().cpu().double()
    index = bin_index(confidence, bins)
    sums = BinSums.of(confidence, confidence, bins)
    correct = [_sum_by(index, torch.bernoulli(confidence, generator=generator), bins) for _ in range(draws)]
    return BinSums(sums.count, sums.confidence, torch.stack(correct)).ece()


def bootstrap_ece(confidence, correct, sentence, samples=1000, bins=BINS, seed=0):
    """ECE of `samples` bootstrap samples of the sentences, (samples,), float64.

    sentence: (N,) int64, the sentence of each token. Tokens of one sentence depend on each other, so whole sentences
    are drawn, with replacement.
    """
    generator = torch.Generator().manual_seed(seed)
    _, sentence = sentence.cpu().unique(return_inverse=True)
    sentences = int(sentence.max()) + 1
    cell = sentence * bins + bin_index(confidence.cpu(), bins)
    gap = _sum_by(cell, correct.cpu().double() - confidence.cpu().double(), sentences * bins).view(sentences, bins)
    size = torch.bincount(sentence, minlength=sentences).double()
    values = []
    for _ in range(samples):
        drawn = torch.randint(sentences, (sentences,), generator=generator)
        weight = torch.bincount(drawn, minlength=sentences).double()
        values.append((weight @ gap).abs().sum() / (weight @ size))
    return torch.stack(values)


def wilson_interval(correct, count, z=1.96):
    """95 % interval of a share of `correct` in `count` trials (Wilson 1927): (low, high); NaN where count is 0."""
    share, ratio = correct / count, z * z / count
    middle = (share + ratio / 2) / (1 + ratio)
    half = z / (1 + ratio) * (share * (1 - share) / count + ratio / (4 * count)).sqrt()
    # the share lies inside, which rounding must not change at 0 and 1
    return torch.minimum(middle - half, share).clamp(min=0), torch.maximum(middle + half, share).clamp(max=1)


def _ranked(confidence, correct):
    """Confidences in ascending order, float64, and the correctness of each, averaged over ties."""
    confidence, order = confidence.double().sort()
    _, group, size = confidence.unique_consecutive(return_inverse=True, return_counts=True)
    mean = _sum_by(group, correct[order], len(size)) / size
    return confidence, mean[group]


def _sum_by(index, values, size):
    return torch.zeros(size, dtype=torch.float64, device=index.device).index_add_(0, index, values.double())
