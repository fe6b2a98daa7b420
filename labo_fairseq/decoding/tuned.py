"""The settings of `labo calibrate --tune-decoding` in beam search: what applies, and what a flag overrides."""

import dataclasses
import logging
import sys
from typing import Any

from ..calibration.file import Calibration, Decoding
from ..errors import UserError
from ..functional.calibrators import adjusted

logger = logging.getLogger(__name__)

# what chooses other hypotheses than plain beam search does, with the value that turns it off: there the tuned settings
# say nothing, and sampling is to draw from the calibrated probabilities
_OTHER_SEARCHES = {
    "sampling": False,
    "diverse_beam_groups": -1,
    "diversity_rate": -1,
    "match_source_len": False,
    "constraints": None,
}


def decoding_for(calibration: Calibration, file: str, args: Any) -> Decoding | None:
    """The Decoding to search with, said in the log; None where the file has none, or it is not for this search.

    args: of generation, fairseq's. A --lenpen that the user gave goes before the tuned one; a --temperature raises
    UserError, as does one that was given as 1.
    """
    decoding = calibration.decoding
    if decoding is None or getattr(args, "score_reference", False):
        return None
    for name, off in _OTHER_SEARCHES.items():
        if getattr(args, name, off) not in (off, None):
            logger.info("%s: tuned decoding is for beam search: not used with --%s", file, name.replace("_", "-"))
            return None
    if given("temperature"):
        raise UserError(
            f"--temperature: not with the tuned decoding of {file}: leave it out, or say --tuned-decoding ignore"
        )
    logger.info("%s: tuned decoding: %s (off: --tuned-decoding ignore)", file, decoding)
    lenpen = getattr(args, "lenpen", decoding.lenpen)
    if given("lenpen") or lenpen not in (1, decoding.lenpen):
        logger.warning("--lenpen %g goes before the tuned length penalty %g", lenpen, decoding.lenpen)
        decoding = dataclasses.replace(decoding, lenpen=lenpen)
    if getattr(args, "unnormalized", False):
        logger.warning("--unnormalized: the tuned length penalty %g has no effect", decoding.lenpen)
    _warn_of_other_search(decoding, file, args)
    return decoding


def adjusted_all(calibrators: list, decoding: Decoding | None, eos: int) -> list:
    """The calibrators of an ensemble with the temperature and EOS bias of a Decoding."""
    if decoding is None:
        return calibrators
    return [adjusted(calibrator, decoding.temperature, eos, decoding.eos_bias) for calibrator in calibrators]


def given(flag: str) -> bool:
    """Whether the command line of this program has the flag, be it with its default as value.

    fairseq's own parser does not tell. It also takes the beginning of a name, such as --lenp.
    """
    words = [word.partition("=")[0] for word in sys.argv[1:] if word.startswith("--")]
    return any(len(word) > 2 and f"--{flag}".startswith(word) for word in words)


def _warn_of_other_search(decoding, file, args):
    for name, value in decoding.search.items():
        # what a configuration does not name (--eval-bleu-args) is fairseq's default
        actual = getattr(args, name, value)
        if actual != value:
            flag = name.replace("_", "-")
            logger.warning("%s: was tuned with --%s %g, not %g: better tune anew", file, flag, value, actual)
