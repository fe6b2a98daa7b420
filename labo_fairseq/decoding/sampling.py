"""Sampling from likely types alone: epsilon sampling (Hewitt et al. 2022) and min-p (Nguyen et al. 2024).

Both cut off the unreliable tail of the distribution, in which a smoothed model keeps much of its mass, and leave the
rest as is. Freitag et al. (2023) find epsilon sampling the best source of candidates for minimum-Bayes-risk decoding.
"""

from typing import Any

import torch
from fairseq.search import Sampling

from ..errors import UserError


class TruncatedSampling(Sampling):
    """fairseq's sampling, of the types with p ≥ epsilon and p ≥ min_p · max p alone; the likeliest one always stays.

    epsilon, min_p: in [0, 1); 0 leaves everything. Ties for the likeliest type all stay.

    Scores are log-probabilities of the whole distribution, as those of fairseq's --sampling-topk and --sampling-topp:
    a hypothesis has the probability that the model gives it, not that with which it was drawn.
    """

    def __init__(self, dictionary: Any, epsilon: float = 0.0, min_p: float = 0.0):
        super().__init__(dictionary)
        self.epsilon = epsilon
        self.min_p = min_p

    def step(
        self,
        step: int,
        lprobs: torch.Tensor,
        scores: Any,
        prev_output_tokens: Any = None,
        original_batch_idxs: Any = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """As fairseq's: (sums of scores, types, beams they continue), each (sentences, beam).

        lprobs: (sentences, beam, types), log-probabilities in nats; scores: (sentences, beam, steps so far), sums.
        """
        sentences, beam, types = lprobs.size()
        if step == 0:  # all beams are the same sentence still: draw all of them from the first
            lprobs = lprobs[:, :1]
        probs = lprobs.exp()
        kept = probs.masked_fill(probs < self.threshold(probs), 0.0)
        drawn = torch.multinomial(kept.view(-1, types), beam if step == 0 else 1, replacement=True)
        drawn = drawn.view(sentences, beam)
        if step == 0:
            return lprobs.squeeze(1).gather(1, drawn), drawn, torch.zeros_like(drawn)
        drawn_scores = lprobs.gather(2, drawn.unsqueeze(2)).squeeze(2) + scores[:, :, step - 1]
        return drawn_scores, drawn, torch.arange(beam, device=drawn.device).expand(sentences, beam)

    def threshold(self, probs: torch.Tensor) -> torch.Tensor:
        """The least probability, (…, 1), of the types that can be drawn from distributions (…, V)."""
        largest = probs.amax(-1, keepdim=True)
        return (largest * self.min_p).clamp(min=self.epsilon).minimum(largest)


def truncated(search: Any, dictionary: Any, epsilon: Any, min_p: Any) -> Any:
    """The search of a generator for --epsilon-sampling and --min-p; `search` itself where neither is given (None).

    search: that of the other flags, None for a scorer of references. Raises UserError where they do not belong with
    the other flags, or are out of range.
    """
    given = {"--epsilon-sampling": epsilon, "--min-p": min_p}
    given = {flag: value for flag, value in given.items() if value is not None}
    if not given:
        return search
    flag = next(iter(given))
    if not isinstance(search, Sampling):
        raise UserError(f"{flag}: is a way to draw samples: add --sampling (and no other kind of search)")
    if search.sampling_topk > 0 or search.sampling_topp > 0:
        raise UserError(f"{flag}: not together with --sampling-topk and --sampling-topp: leave one of them out")
    for flag, value in given.items():
        if not 0 <= value < 1:  # NaN lies nowhere
            raise UserError(f"{flag}: {value} is out of range: give a probability of at least 0 and below 1")
    return TruncatedSampling(dictionary, epsilon or 0.0, min_p or 0.0)
