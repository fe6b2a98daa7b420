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
# logits that the features of a step are computed from at a time, on a CPU
_BLOCK = 1 << 20
# types whose largest logit is found at once; 128 is as fast
_WIDTH = 256


def _entropy_and_gap(z):
    """Entropy over log K, and the gap of the two largest logits, (n,) each, of rows (n, V)."""
    wide = z.to(torch.promote_types(z.dtype, torch.float32))
    first, second = _two_largest(wide)
    p = torch.softmax(wide, -1)
    # H = LSE − Σ p z, and the largest probability is exp(max z − LSE)
    log_sum = first - p.amax(-1).log()
    types = torch.full_like(first, z.size(-1))
    if bool(z.amin().isneginf()):
        finite = torch.isfinite(z)
        types = finite.sum(-1).to(first)
        wide = wide.masked_fill(~finite, 0.0)  # a type that is ruled out would add 0·−inf
    entropy = log_sum - p.mul_(wide).sum(-1)
    return entropy / types.clamp(min=2).log(), first - second


def _two_largest(z):
    """The two largest entries of each row (n, V), (n,) each; two to four times as fast as torch.topk of whole rows."""
    n, types = z.shape
    count = types // _WIDTH
    if count < 2:
        return z.topk(2).values.unbind(-1)
    blocks, rest = z[:, : count * _WIDTH].unflatten(1, (count, _WIDTH)), z[:, count * _WIDTH :]
    top = torch.cat([blocks.amax(2), rest], 1).topk(2)
    first, second = top.values.unbind(-1)
    # the second largest may stand in the same block as the largest
    inside = top.indices[:, 0]
    block = blocks[torch.arange(n, device=z.device), inside.clamp(max=count - 1)]
    runner_up = block.topk(2).values[:, 1]
    return first, torch.where(inside < count, torch.maximum(second, runner_up), second)


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
        if scaled.requires_grad or scaled.dtype not in (torch.float32, torch.float64):
            return _log_softmax(scaled)
        return torch.log_softmax(scaled, -1, out=scaled)  # in the memory that is there: a new piece costs more time

    @staticmethod
    def features(logits: torch.Tensor, positions: torch.Tensor, source_lengths: torch.Tensor) -> torch.Tensor:
        """The features of each step, (..., 5), of the uncalibrated distribution."""
        rows = logits.flatten(0, -2)
        # few passes over logits that stay in the cache: this is done in every step of beam search
        at_once = len(rows) if logits.is_cuda else max(1, _BLOCK // max(1, rows.size(1)))
        parts = [_entropy_and_gap(part) for part in rows.split(max(1, at_once))]
        entropy, gap = (torch.cat(x).view(logits.shape[:-1]) for x in zip(*parts, strict=True))
        columns = [
            torch.ones_like(entropy),
            entropy,
            gap,
            torch.log1p(positions.to(entropy.dtype)),
            torch.log(source_lengths.to(entropy.dtype)),
        ]
        return torch.stack(columns, dim=-1).to(logits.dtype)

    def to(self, device: torch.device | str) -> "Adaptive":
        """A copy on a device."""
        return replace(self, weights=self.weights.to(device))


@dataclass(frozen=True)
class Adjusted:
    """softmax(log p / T + bias·[EOS]) of a calibrator's probabilities p: for a search that is tuned to a score.

    calibrator: any of the above
    temperature: T > 0, besides that of the calibrator
    eos, eos_bias: as in Grouped

    >>> adjusted = Adjusted(Temperature(2.0), 0.5, eos=1, eos_bias=0.0)  # 2 · 0.5 is the model itself
    >>> adjusted.log_probs(torch.tensor([[9.0, 1.0]]).log()).exp()
    tensor([[0.9000, 0.1000]])
    """

    calibrator: "Temperature | Grouped | Adaptive"
    temperature: float
    eos: int
    eos_bias: float

    def log_probs(
        self, logits: torch.Tensor, positions: torch.Tensor | None = None, source_lengths: torch.Tensor | None = None
    ) -> torch.Tensor:
        """See the module."""
        # log p is the calibrated logits but for a constant of the row
        scaled = self.calibrator.log_probs(logits, positions, source_lengths) / self.temperature  # type: ignore[arg-type]
        scaled[..., self.eos] += self.eos_bias
        return _log_softmax(scaled)

    def to(self, device: torch.device | str) -> "Adjusted":
        """A copy on a device."""
        return replace(self, calibrator=self.calibrator.to(device))


def adjusted(
    calibrator: "Temperature | Grouped | Adaptive | None", temperature: float, eos: int, eos_bias: float
) -> "Temperature | Grouped | Adaptive | Adjusted | None":
    """The calibrator with a further temperature and EOS bias in the cheapest form; None is the model itself."""
    if temperature == 1 and eos_bias == 0:
        return calibrator
    calibrator = Temperature() if calibrator is None else calibrator
    if isinstance(calibrator, Temperature) and eos_bias == 0:
        return Temperature(calibrator.temperature * temperature)
    return Adjusted(calibrator, temperature, eos, eos_bias)
