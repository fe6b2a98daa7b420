"""F49: a model is asked to translate from its target language into its source language."""

import logging
from types import SimpleNamespace

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.tasks.translation import TranslationConfig, TranslationTask

from labo_fairseq.compat.checkpoints import load_safely
from labo_fairseq.compat.loaded_models import _languages


@pytest.fixture(params=["stored", "inferred"])
def checkpoint(request, trained, tmp_path):
    """A checkpoint of fairseq-train -s de -t en, and one without the flags: it knows its data folder alone."""
    path = trained / "checkpoint_last.pt"
    state = load_safely(path)
    assert state["cfg"]["task"]["source_lang"] is None
    if request.param == "stored":
        state["cfg"]["task"] |= {"source_lang": "de", "target_lang": "en", "data": "/nowhere"}
        path = tmp_path / "model.pt"
        torch.save(state, path)
    return str(path)


@pytest.mark.parametrize("source, target, warnings", [("de", "en", 0), ("en", "de", 1)])
def test_it_is_warned_about(checkpoint, tiny_bin, caplog, source, target, warnings):
    task = TranslationTask.setup_task(TranslationConfig(data=str(tiny_bin), source_lang=source, target_lang=target))
    with caplog.at_level(logging.WARNING):
        checkpoint_utils.load_model_ensemble([checkpoint], task=task)
    found = [record.getMessage() for record in caplog.records if "asked for" in record.getMessage()]
    assert found == [f"{checkpoint}: translates de-en, asked for is en-de: give -s de -t en"] * warnings


def test_languages_that_are_not_the_reverse_are_left_alone(checkpoint, tiny_bin, tmp_path, caplog):
    """Files may be called otherwise than those of the training."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in tiny_bin.iterdir():
        (folder / name.name.replace("de", "src").replace("en", "tgt")).symlink_to(name)
    task = TranslationTask.setup_task(TranslationConfig(data=str(folder), source_lang="src", target_lang="tgt"))
    with caplog.at_level(logging.WARNING):
        checkpoint_utils.load_model_ensemble([checkpoint], task=task)
    assert not any("asked for" in record.getMessage() for record in caplog.records)


def test_a_model_of_many_directions_is_left_alone(tiny_bin):
    several = SimpleNamespace(source_lang=None, target_lang=None, lang_pairs="de-en,en-de", data=str(tiny_bin))
    assert _languages(several) == (None, None)
    assert _languages(SimpleNamespace(**{**vars(several), "lang_pairs": None})) == ("de", "en")
