"""The documentation as a site, and the notebook: `pip install -e '.[docs]'` has what they need."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[1]
DOCS = REPOSITORY / "docs"
NOTEBOOK = REPOSITORY / "examples" / "calibration.ipynb"


def pages_of(nav):
    """The files that a nav of mkdocs names."""
    for entry in nav:
        for value in entry.values():
            yield from [value] if isinstance(value, str) else pages_of(value)


def test_every_page_is_in_the_navigation_and_every_entry_is_a_page():
    nav = yaml.safe_load((REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8"))["nav"]
    assert sorted(pages_of(nav)) == sorted(str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md"))


def test_no_link_of_a_document_is_dead():
    documents = [*DOCS.rglob("*.md"), REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md"]
    dead = []
    for path in documents:
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if "://" not in link and not link.startswith("mailto:") and not (path.parent / link).exists():
                dead.append(f"{path.relative_to(REPOSITORY)}: {link}")
    assert not dead


def test_no_link_of_a_page_leaves_the_site():
    """mkdocs --strict refuses such a link; name the file without one."""
    outside = []
    for path in DOCS.rglob("*.md"):
        for link in re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8")):
            if "://" not in link and not (path.parent / link).resolve().is_relative_to(DOCS):
                outside.append(f"{path.relative_to(DOCS)}: {link}")
    assert not outside


def test_the_notebook_is_stored_without_results():
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    assert cells and not any(cell.get("outputs") or cell.get("execution_count") for cell in cells)


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path):
    if not importlib.util.find_spec("mkdocs"):
        pytest.skip("needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    losses = (tmp_path / "site" / "api" / "losses" / "index.html").read_text(encoding="utf-8")
    assert "<code>ignore_index</code>: targets of this value have loss 0" in losses


@pytest.mark.slow
def test_the_notebook_runs(run_cli, tmp_path):
    """From the checkpoint of a small training to its report."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    data, run = tmp_path / "data", tmp_path / "run"
    assert run_cli("labo", "prepare", "embedded", "--source", "de", "--target", "en", "--out", data).returncode == 0
    model = "--arch transformer --encoder-embed-dim 16 --decoder-embed-dim 16 --encoder-ffn-embed-dim 16".split()
    model += "--decoder-ffn-embed-dim 16 --encoder-layers 1 --decoder-layers 1 --encoder-attention-heads 2".split()
    settings = "--decoder-attention-heads 2 --optimizer adam --lr 0.01 --max-tokens 1000 --max-update 30 --cpu".split()
    command = ["fairseq-train", data / "bin", "--save-dir", run / "checkpoints", *model, *settings]
    trained = run_cli(*command, "--user-dir", REPOSITORY / "labo_fairseq", "--criterion", "label_smoothing")
    assert trained.returncode == 0, trained.stderr
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    places = {"RUN": run, "DATA": data, "OUT": tmp_path / "out"}
    client = nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}})
    client.execute(env=os.environ | {key: str(value) for key, value in places.items()})
    assert (tmp_path / "out" / "report" / "report.html").exists()
    assert json.loads((tmp_path / "out" / "fit" / "calibration.json").read_text(encoding="utf-8"))
