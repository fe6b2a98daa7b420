"""What a loss of this package is: the contract between a loss object, the row algebra and the two paths."""

from __future__ import annotations

from typing import ClassVar

import torch

from .rows import Coefficients, RowPass, Rows


class RowLoss:
    """Base of all loss objects: small, immutable, with their hyper-parameters as fields.

    A loss says what it is in one of three ways:

    - `terms`: a line of the row algebra (rows.py), which is all that most losses are;
    - `row_pass`, in a subclass of PassLoss: its gradient needs more than the algebra's five terms;
    - `of_rows`: it holds something for every token of a batch, such as a teacher's logits, and returns a loss of the
      former two kinds for the rows at hand.

    temperature: τ of a second softmax that the algebra forms, above 0; None for none
    prior: u of the term d·u: "uniform", a distribution (V,), one for each row (n, V), or None for none
    needs_mean: whether `terms` reads Σ p z, and so the entropy
    rows_per_token: rows that belong together and follow each other: 2 for two dropout passes
    """

    rows_per_token: ClassVar[int] = 1
    own_pass: ClassVar[bool] = False

    @property
    def temperature(self) -> float | None:
        return None

    @property
    def prior(self) -> str | torch.Tensor | None:
        return None

    @property
    def needs_mean(self) -> bool:
        return False

    def row_pass(
        self,
        z: torch.Tensor,
        target: torch.Tensor,
        gradient: bool,
        prior_logit: torch.Tensor | None,
        masked: torch.Tensor | None,
        scratch: list[torch.Tensor] | None,
    ) -> RowPass:
        """As rows.row_pass: the value of n rows of logits, which turn into the gradient in place (`own_pass`)."""
        raise NotImplementedError(f"{type(self).__name__}: has no pass of its own")

    def terms(self, rows: Rows) -> tuple[torch.Tensor, Coefficients]:
        """Value (n,) in nats, and the coefficients of its gradient, from the statistics of n rows."""
        raise NotImplementedError(f"{type(self).__name__}: neither a line of the algebra nor a loss with its own pass")

    def of_rows(self, rows: torch.Tensor, masked: torch.Tensor | None) -> RowLoss:
        """The loss of some rows of the batch.

        rows: indices (n,) into the tokens of the batch; masked: as in rows.row_pass
        """
        return self


class PassLoss(RowLoss):
    """Base of the losses with a pass of their own."""

    own_pass: ClassVar[bool] = True
