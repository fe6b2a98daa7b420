"""Which tasks and models of fairseq a criterion refuses, in one line, and that it works on the others."""

import argparse
from types import SimpleNamespace

import pytest
import torch
from _models import build, make_batch, make_task, run
from fairseq.models import ARCH_CONFIG_REGISTRY, MODEL_REGISTRY, FairseqLanguageModel
from fairseq.models.transformer_lm import TransformerLanguageModel
from fairseq.tasks import TASK_REGISTRY, FairseqTask

from labo_fairseq.errors import UserError
from labo_fairseq.fairseq_models.suitability import check_task, task_name
from labo_fairseq.fairseq_models.teacher import ModelTeacher

# every task that fairseq 0.12.2 registers, and those of ours
WORK = """
    translation translation_from_pretrained_bart translation_from_pretrained_xlm translation_multi_simple_epoch
    multilingual_translation semisupervised_translation online_backtranslation simul_text_to_text
    calibrated_translation calibrated_multilingual_translation calibrated_translation_multi_simple_epoch
    language_modeling multilingual_language_modeling masked_lm multilingual_masked_lm denoising multilingual_denoising
    speech_to_text simul_speech_to_text speech_to_speech audio_finetuning torchvision_classification
    dummy_lm dummy_masked_lm dummy_mt
""".split()
REFUSED = """
    translation_lev sentence_prediction sentence_prediction_adapters sentence_ranking speech_unit_modeling
    legacy_masked_lm cross_lingual_lm hubert_pretraining audio_pretraining text_to_speech frm_text_to_speech
""".split()


def bare(name):
    """A task of the class, without its data, whose dictionaries are there where the class has them at all."""
    own = TASK_REGISTRY[name]
    task = own.__new__(own)
    FairseqTask.__init__(task, SimpleNamespace(_name=name))
    words = make_task().target_dictionary
    known = {"dictionary": words, "tgt_dict": words, "src_dict": words, "_target_dictionary": words, "training": True}
    vars(task).update(
        known, dicts={"en": words}, dictionaries=[words], args=SimpleNamespace(_name=name, target_lang="en")
    )
    task.state.add_factory("target_dictionary", lambda: words)
    task.state.add_factory("dictionaries", lambda: [words])
    manager = SimpleNamespace(get_target_dictionary=lambda language: words)
    vars(task).update(output_dictionary=words, data_manager=manager, target_langs=["en"])
    if name == "speech_to_speech":
        vars(task)["args"].target_is_code = True
    return task


def test_every_task_of_fairseq_has_an_answer():
    """A task that a new version brings has to be sorted into one of the lists."""
    ours_or_known = {*WORK, *REFUSED, "translation_moe"}
    foreign = {
        name for name, own in TASK_REGISTRY.items() if not own.__module__.startswith(("fairseq.", "labo_fairseq."))
    }
    assert set(TASK_REGISTRY) - foreign <= ours_or_known
    assert set(TASK_REGISTRY) >= {*WORK, *REFUSED}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("criterion", ["labo", "label_smoothing", "focal_loss"])
def test_tasks_that_predict_something_else_are_refused_by_name(name, criterion):
    with pytest.raises(UserError) as caught:
        build(bare(name), criterion)
    line = str(caught.value)
    assert line.startswith(f"--criterion {criterion}: does not work with --task {name}: ") and "\n" not in line


@pytest.mark.parametrize("name", WORK)
def test_tasks_that_predict_tokens_or_classes_are_not(name):
    check_task(bare(name), "--criterion labo")


def test_a_mixture_of_experts_is_refused(monkeypatch):
    """translation_moe lies in fairseq's examples, outside of the package; it asserts that there is a compute_loss."""

    class TranslationMoETask(TASK_REGISTRY["translation"]):
        pass

    monkeypatch.setitem(TASK_REGISTRY, "translation_moe", TranslationMoETask)
    task = TranslationMoETask.__new__(TranslationMoETask)
    FairseqTask.__init__(task, SimpleNamespace(_name="translation_moe"))
    with pytest.raises(UserError, match=r"--criterion labo: does not work with --task translation_moe: .*experts"):
        build(task, "labo")


@pytest.mark.parametrize(
    "name", ["nonautoregressive_transformer", "cmlm_transformer", "levenshtein_transformer", "insertion_transformer"]
)
def test_models_that_ask_for_more_than_the_task_gives(name, task, model, batch):
    """Under --task translation the batches have no tgt_tokens."""
    vars(task)["cfg"] = SimpleNamespace(_name="translation")
    other = MODEL_REGISTRY[name].__new__(MODEL_REGISTRY[name])
    torch.nn.Module.__init__(other)
    with pytest.raises(UserError) as caught:
        build(task, "labo")(other, batch)
    line = str(caught.value)
    assert line.startswith("--criterion labo: does not work with --task translation: the model ")
    assert "needs tgt_tokens" in line and "\n" not in line


@pytest.mark.parametrize(
    "change, reason",
    [
        ({"target": None}, "no tokens to predict"),
        ({"target": torch.zeros(3, 7)}, "no tokens to predict"),
        ({"target": torch.zeros(3, 1, dtype=torch.long)}, "gives 21 rows of logits for 3 targets"),
    ],
)
def test_batches_that_hold_something_else(task, model, batch, change, reason):
    with pytest.raises(UserError, match=reason):
        build(task, "labo", projection="dense")(model, {**batch, **change})


def test_the_name_of_a_task():
    assert task_name(SimpleNamespace(cfg=SimpleNamespace(_name="a"))) == "a"
    assert task_name(SimpleNamespace(cfg=None, args=argparse.Namespace(task="b"))) == "b"
    assert task_name(SimpleNamespace()) == "SimpleNamespace"


# --- adaptive softmax ---


def language_model(tied, task, **flags):
    """A tiny transformer_lm; "all" ties as transformer_lm_wiki103 does."""
    args = argparse.Namespace(
        decoder_layers=1, decoder_attention_heads=2, decoder_embed_dim=16, decoder_input_dim=16, decoder_output_dim=16,
        decoder_ffn_embed_dim=16, tokens_per_sample=64, dropout=0.0, adaptive_input_cutoff="6,12",
        adaptive_softmax_cutoff="6,12", adaptive_softmax_dropout=0.0, activation_dropout=0.0, attention_dropout=0.0,
        adaptive_input=tied != "nothing", tie_adaptive_weights=tied != "nothing", tie_adaptive_proj=tied == "all",
    )  # fmt: skip
    ARCH_CONFIG_REGISTRY["transformer_lm_wiki103"](args)
    if tied == "nothing":
        args.adaptive_input = args.tie_adaptive_weights = args.tie_adaptive_proj = False
    torch.manual_seed(1)
    return TransformerLanguageModel.build_model(args, task)


@pytest.fixture
def text(task):
    batch = make_batch(task.target_dictionary)
    return {**batch, "net_input": {"src_tokens": batch["net_input"]["prev_output_tokens"]}}


@pytest.mark.parametrize("tied", ["nothing", "weights", "all"])
@pytest.mark.parametrize("flags", [{}, {"rdrop_weight": 1.0}, {"ignore_prefix_size": 2}], ids=str)
def test_adaptive_softmax_however_it_is_tied(task, text, tied, flags):
    """The likelihood against fairseq's own log-probabilities, and a gradient by finite differences."""
    model = language_model(tied, task)
    assert isinstance(model, FairseqLanguageModel)
    criterion = build(task, "label_smoothing", label_smoothing=0.0, **flags)
    _, size, log, grads = run(criterion, model.train(), text)
    with torch.no_grad():
        model.eval()
        log_p = model.get_normalized_probs(model(**text["net_input"]), log_probs=True)
    prefix = flags.get("ignore_prefix_size", 0)
    target, pad = text["target"][:, prefix:], task.target_dictionary.pad()
    nll = -log_p[:, prefix:].gather(2, target.unsqueeze(2)).squeeze(2)[target != pad].sum()
    torch.testing.assert_close(log["nll_loss"], nll)
    assert size == int((target != pad).sum())
    assert all(grad.isfinite().all() for grad in grads.values()) and any((g != 0).any() for g in grads.values())


@pytest.mark.parametrize("tied", ["nothing", "weights", "all"])
def test_the_gradient_of_a_tied_adaptive_softmax(task, text, tied):
    model = language_model(tied, task).double()
    name = "decoder.layers.0.fc2.weight"
    parameter = dict(model.named_parameters())[name]
    criterion = build(task, "label_smoothing")  # labo's mass is a constant to the gradient
    grads = run(criterion, model, text)[3]
    where, step = (3, 5), 1e-5
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            parameter[where] += sign * step
            values.append(float(criterion(model, text)[0]))
            parameter[where] -= sign * step
    assert float(grads[name][where]) == pytest.approx((values[0] - values[1]) / 2 / step, rel=1e-4)


@pytest.mark.parametrize("tied", ["nothing", "weights", "all"])
def test_a_teacher_with_an_adaptive_softmax(task, text, tied):
    """Its logits are fairseq's log-probabilities of the same rows."""
    teacher = language_model(tied, task)
    logits = ModelTeacher([teacher]).logits(teacher, text, lambda x: x.flatten(0, 1))
    rows = torch.tensor([0, 4, 9])
    with torch.no_grad():
        log_p = teacher.get_normalized_probs(teacher(**text["net_input"]), log_probs=True).flatten(0, 1)
    torch.testing.assert_close(logits(rows), log_p[rows])
