"""The tasks of the calibrated beam search: fairseq's translation tasks with calibrated, weighted ensembles.

  fairseq-generate DATA --user-dir labo_fairseq --task calibrated_translation --calibration calibration.json --path CKPT

Without --calibration each of them is the task that its name ends in.
"""

from dataclasses import dataclass, field
from typing import Any, Optional

from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.sequence_scorer import SequenceScorer
from fairseq.tasks import register_task
from fairseq.tasks.multilingual_translation import MultilingualTranslationTask
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from fairseq.tasks.translation_multi_simple_epoch import TranslationMultiSimpleEpochTask
from omegaconf import II

from ..errors import UserError
from ..functional.calibrators import Temperature
from . import choose, tuned
from .members import CalibratedEnsemble, CalibratedMember, NonFiniteLogits, place_references
from .sampling import truncated
from .sentence_confidence import SentenceConfidence


@dataclass
class CalibrationConfig(FairseqDataclass):
    """What the calibrated tasks ask for besides their own flags."""

    calibration: Optional[str] = field(
        default=None,
        metadata={
            "help": "file that `labo calibrate` wrote, or one for each direction: de-en=FILE,fr-en=FILE; "
            "without it probabilities are the model's own"
        },
    )
    calibration_mismatch: ChoiceEnum(["refuse", "warn"]) = field(
        default="refuse",
        metadata={
            "help": "what to do where the calibration was fitted to another checkpoint or dictionary; "
            "with warn its calibrators are used in the order of --path; validation during training needs warn"
        },
    )
    ensemble_weights: Optional[str] = field(
        default=None,
        metadata={"help": "weights of the checkpoints in the average, such as 0.7,0.3 (default: equal ones)"},
    )
    sentence_confidence: bool = field(
        default=False,
        metadata={
            "help": "print a line C-<id> after the P- line of each hypothesis: the probability that it is good, "
            "by the model that `labo sentence-confidence` fitted"
        },
    )
    tuned_decoding: ChoiceEnum(["use", "ignore"]) = field(
        default="use",
        metadata={
            "help": "what to do with the length penalty, temperature and EOS bias of `labo calibrate --tune-decoding` "
            "in the calibration file; they are for beam search alone"
        },
    )
    epsilon_sampling: Optional[float] = field(
        default=None,
        metadata={"help": "with --sampling: never draw a type whose (calibrated) probability is below this, say 0.02"},
    )
    min_p: Optional[float] = field(
        default=None,
        metadata={"help": "with --sampling: never draw a type that is less than this times as likely as the likeliest"},
    )
    # not read: checkpoints of earlier versions hold it, and fairseq refuses settings that a task does not have
    path: Optional[str] = II("common_eval.path")


class CalibratedDecoding:
    """Mixin of a translation task: its generators and scorers see calibrated members."""

    def build_generator(self, models: list, args: Any, *rest, **kwargs) -> Any:
        """As fairseq's task does, with `members` besides. Raises UserError on what does not belong together."""
        members = self._members(models, args)
        generator = super().build_generator(members, args, *rest, **kwargs)  # type: ignore[misc]
        generator.members = members
        flags = self._calibration_flags
        truncation = self.target_dictionary, flags.epsilon_sampling, flags.min_p  # type: ignore[attr-defined]
        if isinstance(generator, SequenceScorer):
            truncated(None, *truncation)
        else:
            generator.search = truncated(generator.search, *truncation)
            generator.model = CalibratedEnsemble(members).eval()
            if self._tuned is not None:
                generator.len_penalty = self._tuned.lenpen
            _leave_one_scalar_to_fairseq(generator)
        return generator

    def inference_step(self, generator: Any, models: list, sample: dict, *rest, **kwargs) -> Any:
        """As fairseq's task does; with --sentence-confidence each hypothesis has a "confidence".

        Raises UserError, naming the sentences of the batch, where logits are NaN or infinite.
        """
        if isinstance(generator, SequenceScorer):
            place_references(generator.members, sample)
        try:
            hypotheses = super().inference_step(  # type: ignore[misc]
                generator, generator.members, sample, *rest, **kwargs
            )
        except NonFiniteLogits as error:
            raise UserError(
                f"{error}: NaN or infinite logits in the batch of {self._sentences(sample)}: "
                "the checkpoint is broken, or --fp16 overflows: use another one, or full precision"
            ) from None
        if self._calibration_flags.sentence_confidence:
            for hypothesis in (hypothesis for beam in hypotheses for hypothesis in beam):
                scores = hypothesis["positional_scores"].tolist()
                hypothesis["confidence"] = self._confidence.probability(scores)
        return hypotheses

    @property
    def _calibration_flags(self):
        return self.args if self.cfg is None else self.cfg

    def _members(self, models, args):
        flags = self._calibration_flags
        weights = choose.weights_of(flags.ensemble_weights, len(models))
        # in training there is none; in Python (from_pretrained) no --path tells them
        paths = [model.checkpoint_file for model in models if hasattr(model, "checkpoint_file")] or None
        direction = f"{flags.source_lang}-{flags.target_lang}"
        file, calibration = choose.calibration_of(flags.calibration, direction)
        calibrators = [None] * len(models)
        self._tuned = None
        if calibration is not None:
            if getattr(args, "temperature", 1.0) != 1.0:
                raise UserError(
                    f"--temperature {args.temperature}: not together with --calibration, which holds the temperatures"
                )
            strict = str(flags.calibration_mismatch) != "warn"
            calibrators = choose.calibrators(calibration, file, paths, self.target_dictionary, strict)
            if str(getattr(flags, "tuned_decoding", "use")) == "use":  # checkpoints of earlier versions lack it
                self._tuned = tuned.decoding_for(calibration, file, args)
                calibrators = tuned.adjusted_all(calibrators, self._tuned, self.target_dictionary.eos())
        if flags.sentence_confidence:
            self._confidence = _confidence(file, calibration, args)
        names = paths or ["the model in training"] * len(models)
        members = [CalibratedMember(*member) for member in zip(models, names, calibrators, weights, strict=True)]
        for member in members:
            _check_plain_softmax(member)
        return members

    def _sentences(self, sample):
        if "id" in sample:
            return f"sentences {', '.join(map(str, sample['id'].tolist()))}"
        # fairseq-interactive tells no ids
        sources = [self.source_dictionary.string(row) for row in sample["net_input"]["src_tokens"]]
        return f"sentences {sources}"


def _leave_one_scalar_to_fairseq(generator):
    """One T for all members: beam search divides by its own temperature anyway, which then costs no second pass."""
    calibrators = [member.calibrator for member in generator.members]
    if all(isinstance(c, Temperature) and c.temperature == calibrators[0].temperature for c in calibrators):
        generator.temperature = calibrators[0].temperature
        for member in generator.members:
            member.calibrator = None


def _confidence(file, calibration, args):
    if getattr(args, "constraints", None):
        raise UserError("--sentence-confidence: not together with --constraints: fairseq prints those as C- lines too")
    if calibration is None:
        raise UserError(
            "--sentence-confidence: needs --calibration with a file that `labo sentence-confidence` completed"
        )
    if calibration.sentence_confidence is None:
        raise UserError(f"{file}: has no sentence confidence: fit it with `labo sentence-confidence`")
    try:
        return SentenceConfidence.from_json(calibration.sentence_confidence)
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"{file}: broken sentence confidence ({error!r}): fit it anew") from None


def _check_plain_softmax(member):
    if member.calibrator is not None and getattr(member.decoder, "adaptive_softmax", None) is not None:
        raise UserError(f"{member.name}: has an adaptive softmax: a calibrator needs the logits of a plain one")


@dataclass
class CalibratedTranslationConfig(TranslationConfig, CalibrationConfig):
    """Flags of calibrated_translation."""


@register_task("calibrated_translation", dataclass=CalibratedTranslationConfig)
class CalibratedTranslationTask(CalibratedDecoding, TranslationTask):
    """fairseq's `translation`, with the calibrated beam search; also for --eval-bleu."""


class _WithFlags(CalibratedDecoding):
    @classmethod
    def add_args(cls, parser):
        """The task's own flags and the calibration's."""
        super().add_args(parser)
        gen_parser_from_dataclass(parser, CalibrationConfig())


@register_task("calibrated_multilingual_translation")
class CalibratedMultilingualTranslationTask(_WithFlags, MultilingualTranslationTask):
    """fairseq's `multilingual_translation`, with the calibrated beam search."""


@register_task("calibrated_translation_multi_simple_epoch")
class CalibratedTranslationMultiSimpleEpochTask(_WithFlags, TranslationMultiSimpleEpochTask):
    """fairseq's `translation_multi_simple_epoch`, with the calibrated beam search."""
