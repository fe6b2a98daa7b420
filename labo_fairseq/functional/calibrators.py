"""Calibrators: what turns a model's logits into calibrated log-probabilities, at fitting and in beam search alike.

Each is a small object with its parameters and `log_probs(logits, positions, source_lengths)`:

logits: (..., K), raw, of the last layer; never changed in place
positions, source_lengths: (...), the target position from 0 and the source's tokens with EOS; only Adaptive reads them
returns: (..., K) log-probabilities in nats, float32 (float64 stays)

and `to(device)`. Temperature always divides the logits (Guo et al. 2017).
"""

from dataclasses import dataclass, replace

import torch

MOST = 1e6  # of a temperature, its inverse, a weight and a bias: beyond it logits overflow float32


def _log_softmax(logits):
    # half precision would cost digits of the scores; fairseq computes log-probabilities in float32 too
    return torch.log_softmax(logits, dim=-1, dtype=logits.dtype if logits.dtype == torch.float64 else torch.float32)


@dataclass(frozen=True)
class Temperature:
    """softmax(z/T), one T > 0 for every step. T = 1 is the model itself, bit for bit.

    >>> Temperature(2.0).log_probs(torch.tensor([[9.0, 1.0]]).log()).exp()  # √9 : √1
    tensor([[0.7500, 0.2500]])
    """

    temperature: float = 1.0

    def log_probs(
        self, logits: torch.Tensor, positions: torch.Tensor | None = None, source_lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See the module."""
        return _log_softmax(logits if self.temperature == 1 else logits / self.temperature)

    def to(self, device: torch.device | str) -> "Temperature":
        """Itself: it holds no tensor."""
        return self


@dataclass(frozen=True)
class Grouped:
    """softmax((z_j − max z) / T_g(j) + bias·[j is EOS]): a temperature per group of types, and a bias for EOS.

    After Kumar & Sarawagi (2019), who find EOS miscalibrated, which is the length bias of large beams. With unequal
    temperatures z/T would depend on the logits' common offset, which means nothing; measured from the row's largest
    logit it does not, and with equal temperatures it is the scalar.

    temperatures: (G,), above 0
    groups: (V,) int64, the group of each type, in 0..G−1
    eos: index of EOS
    eos_bias: in nats, added to the logit of EOS

    >>> grouped = Grouped(torch.tensor([1.0, 0.5]), torch.tensor([0, 1, 0]), eos=2, eos_bias=0.0)
    >>> grouped.log_probs(torch.tensor([[4.0, 2.0, 4.0]]).log()).exp()  # 4/4, (2/4)² and 4/4, over their sum
    tensor([[0.4444, 0.1111, 0.4444]])
    """

    temperatures: torch.Tensor
    groups: torch.Tensor
    eos: int
    eos_bias: float

    def __post_init__(self):
        # derived, and no field: what makes two calibrators equal is what they are made from
        self.__dict__["_inverse"] = (1 / self.temperatures)[self.groups]

    def log_probs(
        self, logits: torch.Tensor, positions: torch.Tensor | None = None, source_lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See the module."""
        scaled = (logits - logits.max(dim=-1, keepdim=True).values).mul_(self.__dict__["_inverse"].to(logits.dtype))
        scaled[..., self.eos] += self.eos_bias
        return _log_softmax(scaled)

    def to(self, device: torch.device | str) -> "Grouped":
        """A copy on a device."""
        return replace(self, temperatures=self.temperatures.to(device), groups=self.groups.to(device))


@dataclass(frozen=True)
class Adaptive:
    """softmax(z/T + bias·[EOS]) with log T = weights · features of the step, features that the decoder has anyway.

    weights: (5,), in the order of `FEATURES`
    eos, eos_bias: as in Grouped; without an index there is no bias

    >>> adaptive = Adaptive(torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0]))  # log T = log(1 + position)
    >>> adaptive.log_probs(torch.tensor([[9.0, 1.0]]).log(), torch.tensor([1]), torch.tensor([5])).exp()  # T = 2
    tensor([[0.7500, 0.2500]])
    """

    weights: torch.Tensor
    eos: int | None = None
    eos_bias: float = 0.0

    FEATURES = ("one", "entropy / log K", "gap of the two largest logits", "log(1+position)", "log(source length)")

    def temperatures(self, logits: torch.Tensor, positions: torch.Tensor, source_lengths: torch.Tensor) -> torch.Tensor:
        """T of each step, (...), in [1e-6, 1e6]: beyond these logits overflow float32."""
        log_t = self.features(logits, positions, source_lengths) @ self.weights.to(logits.dtype)
        return log_t.exp().clamp(1 / MOST, MOST)

    def log_probs(self, logits: torch.Tensor, positions: torch.Tensor, source_lengths: torch.Tensor) -> torch.Tensor:
        """See the module."""
        scaled = logits / self.temperatures(logits, positions, source_lengths).unsqueeze(-1)
        if self.eos is not None:
            scaled[..., self.eos] += self.eos_bias
        return _log_softmax(scaled)

    @staticmethod
    def features(logits: torch.Tensor, positions: torch.Tensor, source_lengths: torch.Tensor) -> torch.Tensor:
        """The features of each step, (..., 5), of the uncalibrated distribution."""
        log_p = _log_softmax(logits)
        entropy = -(log_p.exp() * log_p).nan_to_num(nan=0.0).sum(-1)  # a type that is ruled out adds 0·−inf
        types = torch.isfinite(logits).sum(-1).clamp(min=2)
        top = logits.topk(2, dim=-1).values
        columns = [
            torch.ones_like(entropy),
            entropy / types.log(),
            top[..., 0] - top[..., 1],
            torch.log1p(positions.to(entropy.dtype)),
            torch.log(source_lengths.to(entropy.dtype)),
        ]
        return torch.stack(columns, dim=-1).to(logits.dtype)

    def to(self, device: torch.device | str) -> "Adaptive":
        """A copy on a device."""
        return replace(self, weights=self.weights.to(device))
