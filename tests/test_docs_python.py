"""The examples of docs/python.md run, section by section, in one Python."""

import doctest
import importlib.util
import re
from pathlib import Path

import pytest

from labo_fairseq.compat.torchvision_ops import import_torchvision

TEXT = (Path(__file__).parents[1] / "docs" / "python.md").read_text(encoding="utf-8")
NEEDS = {"Hugging Face": "transformers", "Lightning": "lightning"}


def test_the_examples_run():
    if importlib.util.find_spec("torchvision"):
        import_torchvision()  # transformers and torchmetrics import it
    names, ran = {}, []
    for section in re.split(r"^## ", TEXT, flags=re.MULTILINE)[1:]:
        title, text = section.split("\n", 1)
        if title in NEEDS and importlib.util.find_spec(NEEDS[title]) is None:
            continue
        test = doctest.DocTestParser().get_doctest(text.replace("```", ""), names, title, "docs/python.md", 0)
        runner = doctest.DocTestRunner()
        runner.run(test, clear_globs=False)
        assert not runner.failures, title
        names = test.globs
        ran += [title] if test.examples else []
    assert {"torch", "The projection fused", "LABO's warm-up", "A plain loop", "Calibration"} <= set(ran)


@pytest.mark.parametrize("module", ["losses", "calibrate", "huggingface"])
def test_every_name_is_in_the_docs(module):
    """A reader of this page learns of everything that these modules offer."""
    public = importlib.import_module(f"labo_fairseq.{module}").__all__
    assert not [name for name in public if name not in TEXT]
