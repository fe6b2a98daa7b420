"""Mutual information between an image's number and a logit difference, as Müller et al. (2019) estimate it, section 4.

X is the number of one of N images, Y = f(d(z_X)) the difference of two logits under a random augmentation d, taken as
normal with a variance that all images share. Per image x with augmentations l = 1..L:

  Î = 1/N Σ_x [ −(y_x − μ_x)²/2σ² − log( 1/N Σ_x' exp(−(y_x − μ_x')²/2σ²) ) ]

The formula is printed with the letter x for the inner sum too. Read so, with y_x − μ_x in both places, it is never
positive (Jensen's inequality), while the text puts it between 0 and log N. So the inner sum must run over the means of
all images at one y, as p(y) = Σ_x p(y|x)p(x) does.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..errors import UserError

_ROWS = 1 << 22  # distances that exist at a time


@dataclass(frozen=True)
class Estimate:
    """All in nats.

    information: the estimate as written, in [−1/2, log N]
    error: its standard error over the images
    bias: what L augmentations are expected to add to it, ½·log(L/(L−1))
    held_out: the same with y left out of its own image's mean, in [−1/2, log N]; too small where the other is too large
    bound: log N
    """

    information: float
    error: float
    bias: float
    held_out: float
    bound: float

    @property
    def corrected(self):
        """The estimate without the bias."""
        return self.information - self.bias


def estimate(draws):
    """The Estimate of logit differences (N, L): L random augmentations of each of N images, L at least 2.

    μ_x is the mean of an image's L draws and σ² the mean of (y − μ_x)², as in the paper, which takes y from one
    augmentation; here each of the L is y in turn, which has the same expectation and less noise. y has a part in its
    own μ_x, so that σ² comes out (L−1)/L of the variance; where the μ_x are normal too, the estimate is too large by
    ½·log(L/(L−1)) for large N, 0.11 nats for the paper's L = 5 (a test measures it). The paper does not say whether y
    is a further draw; `held_out` is that reading, with the mean of the L−1 others; it is negative where Y says nothing.

    The standard error takes the images as independent, and the means and σ² as given.
    Raises UserError where augmentation changes nothing.
    """
    draws = np.asarray(draws, np.float64)
    images, times = draws.shape
    # equal draws leave nothing but rounding
    if times < 2 or not draws.var(1).mean() > 1e-12 * max(1.0, float(np.square(draws).mean())):
        raise UserError(
            "the logit difference is the same under every augmentation: train and measure with augmentation"
        )
    means = draws.mean(1, keepdims=True)
    terms = _terms(draws, np.broadcast_to(means, draws.shape))
    others = (times * means - draws) / (times - 1)
    return Estimate(
        float(terms.mean()),
        float(terms.std(ddof=1) / math.sqrt(images)),
        0.5 * math.log(times / (times - 1)),
        float(_terms(draws, others).mean()),
        math.log(images),
    )


def _terms(draws, means):
    """The bracket of each image, (N,), mean over the draws; means (N, L): the mean that goes with each draw."""
    own = (draws - means) ** 2
    variance = float(own.mean())
    columns = zip(draws.T, means.T, strict=True)
    mixture = np.stack([_log_mean_density(y, column, variance) for y, column in columns], 1)
    return (-own / (2 * variance) - mixture).mean(1)


def _log_mean_density(y, means, variance):
    """log( 1/N Σ exp(−(y − μ)²/2σ²) ) of each y, over the N means."""
    pieces = np.array_split(y, max(1, len(y) * len(means) // _ROWS))
    log_densities = []
    for piece in pieces:
        exponents = -((piece[:, None] - means) ** 2) / (2 * variance)
        peak = exponents.max(1)
        log_densities.append(peak + np.log(np.exp(exponents - peak[:, None]).mean(1)))
    return np.concatenate(log_densities)
