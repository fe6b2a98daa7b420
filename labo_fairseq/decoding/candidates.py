"""Candidates for minimum-Bayes-risk decoding straight from a model: of the fast engine, or of fairseq-generate."""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from ..errors import UserError
from ..files import PACKAGE
from ..records.generate_log import Hypothesis
from ..records.generate_log import Sentence as LogSentence
from .mbr import Candidates, Choice, Draw, decode, merged
from .translate import Display, Model, Search, Sentence, Translation

_GENERATE = "import sys; sys.argv[0] = 'fairseq-generate'; from fairseq_cli.generate import cli_main; cli_main()"


def choose(
    model: Model, batch: list[Sentence], search: Search, show: Display, utility: Any, temperature: float | None
) -> list[tuple[Choice, Translation]]:
    """(Choice, the chosen Translation) of each Sentence of a batch, which all fit the model.

    search: of the candidates; see `mbr.decode` for the rest. Of samples only the chosen one has its tokens scored.
    """
    choices = list(decode(candidates_of_engine(model, batch, search, show), utility, temperature))
    tokens = [[list(choice.sentence.hypotheses[0].tokens)] for choice in choices]
    scored = model.scored(batch, tokens, search)
    return list(zip(choices, (translations[0] for translations in scored), strict=True))


def candidates_of_engine(model: Model, batch: list[Sentence], search: Search, show: Display) -> list[Candidates]:
    """The Candidates of each Sentence of a batch; tokens of their hypotheses are subwords, scores are in nats."""
    if search.sampling:
        drawn = [[(draw.tokens, draw.log_prob) for draw in draws] for draws in model.draw(batch, search)]
    else:
        found = model.translate(batch, search)
        drawn = [[(one.tokens, sum(one.log_probs)) for one in translations] for translations in found]
    return [
        merged(LogSentence(one.id, show.text(one.source), one.target, ()), [_draws(pairs, show)])
        for one, pairs in zip(batch, drawn, strict=True)
    ]


def _draws(pairs, show):
    draws = []
    for tokens, log_prob in pairs:
        text = show.text(tokens)
        draws.append(Draw(text, Hypothesis(log_prob, tuple(tokens), text, None), log_prob, len(tokens)))
    return draws


def run_fairseq_generate(arguments: Sequence[str], log: str | os.PathLike) -> None:
    """Write the output of fairseq-generate to the file `log`; its messages go to standard error.

    arguments: of the command, without the hook-up of this package's tasks. Raises UserError where it fails.
    """
    command = [sys.executable, "-c", _GENERATE, *map(str, arguments), "--user-dir", str(PACKAGE)]
    with open(log, "wb") as stream:
        done = subprocess.run(command, stdout=stream, check=False)
    if done.returncode:
        raise UserError(f"fairseq-generate {' '.join(arguments)}: failed, as said above: mend its flags")
