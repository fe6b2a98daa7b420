"""Readers of files meet damaged ones: whatever the bytes are, there is a result or a UserError of one line.

The fast runs are for every day; `pytest -m slow` tries a hundred times as many inputs.
"""

import contextlib
import gzip
import json

import pytest
from _analysis import CONFIG, RESUMED, entry, epoch_end, inner, valid
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labo_fairseq.analysis.frequency import read_dictionary
from labo_fairseq.analysis.references import read_references
from labo_fairseq.analysis.runs import read_run, table
from labo_fairseq.analysis.systems import read_system
from labo_fairseq.errors import UserError
from labo_fairseq.records.generate_log import parse_generate_log
from labo_fairseq.records.mbr import read_mbr
from labo_fairseq.records.reliability import COLUMNS, read_reliability
from labo_fairseq.records.run_folder import corpus_at, method_name, read_corpus, read_settings
from labo_fairseq.records.text import read_text
from labo_fairseq.records.train_log import read_epochs, read_train_log

LOG = entry(0, "a b", "a b") + entry(1, "c@@ d", "cd") + "C-0\t0.5\nC-1\t0.25\nA-0\t0-0\n"
TRAIN_LOG = "\n".join([CONFIG, inner(100), valid(600, 3.0), epoch_end(1, 600, 100)]) + "\n"
RELIABILITY = "\t".join(COLUMNS) + "\nbefore\t0.0\t0.5\t3\t0.25\t0.3\t0.1\t0.5\nbefore\t0.5\t1.0\t0\t\t\t\t\n"
FIT = json.dumps(
    {"format": "labo-mbr", "version": 1, "temperature": 2.0, "utility": "chrF2", "sentences": 3, "tried": [
        {"weights": "2", "utility": 60.0, "difference": 0.1, "standard error": 0.1}]}
)  # fmt: skip
CHOICES = "id\tcandidates\ttexts\trank\tweight\tutility\n0\t7\t3\t1\t0.2500\t61.2000\n1\t7\t4\t2\t0.5\t41\n"
DICTIONARY = "the 30\na 20\ndog 3 #fairseq:overwrite\n"
MANIFEST = json.dumps({"source": "de", "target": "en", "synthetic": False, "lowercased": True})
COMMAND = json.dumps(["fairseq-train", "bin", "--criterion", "labo", "--rho", "0.5", "--max-update", "10"])
PLAIN = "one line\ntwo\tlines\n▁pie ce\n"

# text that breaks readers: numbers beyond their types, deep brackets, odd spaces and ends of lines
ODD = [
    *("nan", "-inf", "1e999", "-1", "9" * 5000, "null", "true", "-", "--", "²", "²³", "\\ud800"),
    *("[" * 3000, "{" * 3000, '{"epoch": ', "{'_name': None, 'common': "),
    *(
        '{"epoch": 1, "num_updates": "inf"}',
        '{"epoch": 1, "train_num_updates": "1e400"}',
        '{"epoch": [], "num_updates": 1}',
    ),
    *("\u2028", "\x85", "\r", "\n", "\t", "\x00", "\ufeff", "S-0\t", "H-0\t-1\tx\n", "T-1", "P-0\t"),
]


@st.composite
def damaged(draw, whole):
    """Bytes: a valid file with pieces cut, doubled, exchanged or replaced; or anything at all; or these in gzip."""
    kind = draw(st.sampled_from(["edit", "edit", "edit", "text", "bytes"]))
    if kind == "bytes":
        data = draw(st.binary(max_size=200))
    elif kind == "text":
        data = "".join(draw(st.lists(st.sampled_from([*ODD, *whole.split()]) | st.text(max_size=5), max_size=12)))
        data = data.encode("utf-8", "replace")
    else:
        text = whole
        for _ in range(draw(st.integers(1, 4))):
            start = draw(st.integers(0, len(text)))
            end = draw(st.integers(start, min(len(text), start + 30)))
            piece = draw(st.sampled_from([*ODD, "", text[start:end] * 2]) | st.text(max_size=4))
            text = text[:start] + piece + text[end:]
        data = text.encode("utf-8", "replace")
    if draw(st.integers(0, 9)) == 0:
        data = gzip.compress(data)
        data = data[: draw(st.integers(0, len(data)))] if draw(st.booleans()) else data
    return data


def tried(read, *arguments):
    """A result, or a UserError whose text is one line."""
    try:
        return read(*arguments)
    except UserError as error:
        assert str(error).strip() and "\n" not in str(error)
        return None


def generate_log(folder, data):
    (folder / "file").write_bytes(data)
    text = tried(read_text, folder / "file")
    if text is not None:
        tried(parse_generate_log, text, "file")
    system = tried(read_system, "name", str(folder / "file"))
    if system:
        system.detokenized(), system.tokenized()


def plain_text(folder, data):
    (folder / "file").write_bytes(data)
    tried(read_references, [str(folder / "file")])
    tried(read_references, [str(folder / "file")], 2)


def train_log(folder, data):
    (folder / "file").write_bytes(data)
    found = tried(read_train_log, folder / "file")
    if found:
        assert found.updates >= 0 and (found.updates_per_second is None or found.updates_per_second >= 0)
        found.best, method_name(found.criterion)
    tried(read_epochs, folder / "file")


def reliability(folder, data):
    (folder / "reliability.tsv").write_bytes(data)
    tried(read_reliability, folder)


def of_mbr(folder, data):
    (folder / "file").write_bytes(data)
    tried(read_mbr, folder / "file")


def dictionary(folder, data):
    (folder / "file").write_bytes(data)
    tried(read_dictionary, folder / "file")


def run_folder(name):
    def read(folder, data):
        whole = {"manifest.json": MANIFEST, "command.json": COMMAND, "train.log": TRAIN_LOG, "data": ".\n"}
        for other, text in whole.items():
            (folder / other).write_text(text, encoding="utf-8")
        (folder / "generate-test.txt").write_text(LOG, encoding="utf-8")
        (folder / name).write_bytes(data)
        tried(lambda: method_name(read_settings(folder)))
        tried(read_corpus, folder)
        tried(corpus_at, folder, "de-en")
        table([read_run(folder)]).as_tsv()  # never raises

    return read


READERS = {
    "generate log": (generate_log, LOG),
    "text": (plain_text, PLAIN),
    "train log": (train_log, TRAIN_LOG),
    "resumed train log": (train_log, RESUMED.read_text(encoding="utf-8")[:4000]),
    "reliability.tsv": (reliability, RELIABILITY),
    "fit of mbr": (of_mbr, FIT),
    "choices of mbr": (of_mbr, CHOICES),
    "dictionary": (dictionary, DICTIONARY),
    "manifest.json": (run_folder("manifest.json"), MANIFEST),
    "command.json": (run_folder("command.json"), COMMAND),
    "data": (run_folder("data"), ".\nde-en\n"),
    "train.log of a run": (run_folder("train.log"), TRAIN_LOG),
    "generate-test.txt of a run": (run_folder("generate-test.txt"), LOG),
}
SETTINGS = {"deadline": None, "suppress_health_check": list(HealthCheck), "derandomize": True}


def fuzz(name, folder, examples):
    read, whole = READERS[name]

    @settings(max_examples=examples, **SETTINGS)
    @given(damaged(whole))
    def run(data):
        read(folder, data)

    with contextlib.redirect_stderr(None):  # notes about what was mended
        run()


@pytest.mark.parametrize("name", READERS)
def test_whole_files_are_read(tmp_path, name):
    read, whole = READERS[name]
    read(tmp_path, whole.encode())


@pytest.mark.parametrize("name", READERS)
def test_damaged_files_give_a_result_or_one_line(tmp_path, name):
    fuzz(name, tmp_path, 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", READERS)
def test_many_damaged_files_give_a_result_or_one_line(tmp_path, name):
    fuzz(name, tmp_path, 6000)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("odd", ODD, ids=lambda text: ascii(text[:12]))
def test_odd_pieces_at_every_place(tmp_path, name, odd):
    """Each odd piece as the whole file, before it, behind it, and in place of each of its words."""
    read, whole = READERS[name]
    words = whole[:400].split()
    variants = [
        odd,
        odd + whole,
        whole + odd,
        *(whole.replace(word, odd, 1) for word in words[:: max(1, len(words) // 8)]),
    ]
    with contextlib.redirect_stderr(None):
        for text in variants:
            read(tmp_path, text.encode())
