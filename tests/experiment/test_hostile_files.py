"""Experiment files that are damaged, odd or malicious: one line and nothing else."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.cli import main
from labo_fairseq.errors import UserError
from labo_fairseq.experiment import spec

BASE = """name: t
corpus: {name: embedded, directions: [de-en]}
train: {lr: 0.1}
methods:
  a: {criterion: labo}
seeds: 1
"""

BOMB = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
HOSTILE = {
    "a key that is a date": "2001-01-01: x\n" + BASE,
    "a key that is a number": "1: x\n" + BASE,
    "a key that is null": "~: x\n" + BASE,
    "a key that is a list": "? [1, 2]\n: x\n" + BASE,
    "a key that is true": "yes: x\n" + BASE,
    "a key of two lines": "? 'a\n\n  b'\n: x\n" + BASE,
    "a list tagged as text as a key": "? !!str [1, 2]\n: x\n" + BASE,
    "a mapping as a key": "? {a: b}\n: x\n" + BASE,
    "a tag that nobody knows": BASE.replace("seeds: 1", "seeds: !secret x"),
    "a timestamp tag of a word": BASE.replace("seeds: 1", "seeds: !!timestamp x"),
    "text in base64 that is none": BASE.replace("lr: 0.1", "lr: !!binary 'x'"),
    "a pair of lists tagged as pairs": BASE.replace("seeds: 1", "seeds: !!pairs [a]"),
    "an ordered map": BASE.replace("seeds: 1", "seeds: !!omap [a: 1]"),
    "a key twice in a flow": BASE.replace("{lr: 0.1}", "{lr: 0.1, lr: 0.1}"),
    "a key twice in a profile": BASE + "profiles: {a: {seeds: 1, seeds: 2}}\n",
    "a mapping merged with itself": "a: &a\n  <<: *a\n",
    "a list at the top": "- a\n- b\n",
    "brackets that never close": BASE + "x: " + "[" * 40,
    "an alias bomb within train": BASE.replace("lr: 0.1", "lr: *h").replace("name: t\n", BOMB + "name: t\n"),
    "a seed of 10 to the 400": BASE.replace("seeds: 1", "seeds: 1" + "0" * 400),
    "a number in base 60 that is huge": BASE.replace("seeds: 1", "seeds: " + "59:" * 200 + "1"),
    "a length penalty beyond reason": BASE + "decode: {lenpen: 1e300}\n",
    "giant max-tokens": BASE + "decode: {max-tokens: 99999999999999999999}\n",
    "negative max-tokens": BASE + "decode: {max-tokens: -1}\n",
    "a beam of nothing": BASE + "decode: {beam: 0}\n",
    "a method with a zero byte": BASE.replace("  a:", '  "a\\0b":'),
    "a method with a line break": BASE.replace("  a:", '  "a\\nb":'),
    "a method that is a result": BASE.replace("  a:", "  report:"),
    "a method that is a table": BASE.replace("  a:", "  Table.TSV:"),
    "a method of 200 wide letters": BASE.replace("  a:", f"  {'語' * 90}:"),
    "two methods of one folder": BASE.replace("seeds", "  A: {criterion: labo}\n  'a!': {criterion: labo}\nseeds"),
    "a method and a point of another's grid": BASE.replace(
        "  a: {criterion: labo}", "  a: {criterion: labo, rho: [0.5, 1]}\n  a.rho=0.5: {criterion: labo}"
    ),
    "a varied value of 300 letters": BASE.replace(
        "{criterion: labo}", "{criterion: labo, vary: {x: [" + "a" * 300 + ", b]}}"
    ),
    "a grid of 300 letters": BASE.replace("{criterion: labo}", "{criterion: labo, x: [" + "a" * 300 + ", b]}"),
    "two values of a grid that share a folder": BASE.replace("{criterion: labo}", "{criterion: labo, x: ['a ', a]}"),
    "a precision that is none": BASE.replace("{lr: 0.1}", "{precision: half}"),
    "a precision and a flag of its own": BASE.replace("{lr: 0.1}", "{precision: auto, fp16: true}"),
    "checkpoints that are none": BASE + "decode: {checkpoints: [last]}\n",
    "an average of none": BASE + "decode: {checkpoints: [average]}\n",
    "a curve of words": BASE + "decode: {curve: [often]}\n",
    "a metric that is none": BASE + "decode: {metrics: [meteor]}\n",
    "a number that is none": BASE.replace("seeds: 1", "seeds: !!float x"),
    "a whole number that is none": BASE.replace("seeds: 1", "seeds: !!int x"),
    "a date that is none": BASE.replace("seeds: 1", "seeds: 2001-13-45"),
    "a date as a setting": BASE.replace("lr: 0.1", "lr: 2001-01-01"),
    "bytes as a setting": BASE.replace("lr: 0.1", "lr: !!binary aGVsbG8="),
    "a set as a name": BASE.replace("name: t", "name: !!set {a}"),
    "a tag of Python's": BASE.replace("name: t", "name: !!python/name:os.system"),
    "3,000 brackets": "a: " + "[" * 3000 + "]" * 3000,
    "3,000 braces": "a: " + "{a: " * 3000 + "}" * 3000,
    "values that double": BOMB,
    "a list within itself": "a: &a [*a]\n",
    "an alias of nothing": "a: *a\n",
    "nothing": "",
    "a text": "hello",
    "a control character": "name: \x00\n",
    "half a surrogate": BASE.replace("name: t", 'name: "\\ud800"'),
    "5,000 digits": BASE.replace("seeds: 1", "seeds: " + "9" * 5000),
    "an infinite seed": BASE.replace("seeds: 1", "seeds: .inf"),
    "a giant seed": BASE.replace("seeds: 1", "seeds: 99999999999"),
    "a negative seed": BASE.replace("seeds: 1", "seeds: -1"),
    "an infinite length penalty": BASE + "decode: {lenpen: 1e400}\n",
    "a length penalty that is no number": BASE + "decode: {lenpen: .nan}\n",
    "a method that leaves the folder": BASE.replace("  a:", "  ..:"),
    "a method that stays in the folder": BASE.replace("  a:", "  .:"),
    "a method of slashes": BASE.replace("  a:", "  '///':"),
    "a method of 300 letters": BASE.replace("  a:", f"  {'a' * 300}:"),
    "a flag with a space": BASE.replace("lr:", "'l r':"),
    "two documents": BASE + "---\nb: 1\n",
    "a tab": "\tname: 1",
    "a merge of a number": BASE + "<<: 3\n",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE.keys())
def test_one_line_and_exit_code_2(text, tmp_path, capsys):
    file = tmp_path / "e.yaml"
    file.write_bytes(text.encode("utf-8"))
    assert main(["experiment", "run", str(file), "--dry-run", "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"labo experiment: {file}") and error.count("\n") == 1 and len(error) < 500
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", b"\x80name: t\n", b"name: \xc3\n"])
def test_bytes_that_are_no_text(content, tmp_path):
    (tmp_path / "e.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"e\.yaml: byte \d is not UTF-8"):
        spec.read(tmp_path / "e.yaml")


def test_a_folder_in_place_of_a_file(tmp_path):
    with pytest.raises(UserError, match="Is a directory"):
        spec.read(tmp_path)


def test_a_method_with_slashes_gets_a_folder_of_its_own(tmp_path):
    (tmp_path / "e.yaml").write_text(BASE.replace("  a:", "  'a/../../b':"))
    (method,) = spec.read(tmp_path / "e.yaml").methods
    assert "/" not in spec.slug(method.name) and spec.slug(method.name) not in (".", "..")


def test_a_byte_order_mark_is_no_part_of_a_key(tmp_path):
    (tmp_path / "e.yaml").write_text(BASE, encoding="utf-8-sig")
    assert spec.read(tmp_path / "e.yaml").name == "t"


SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
KEYS = st.sampled_from(["name", "corpus", "train", "methods", "seeds", "decode", "profiles", "baseline", "x"])


def read_or_refuse(tmp_path_factory, text):
    file = tmp_path_factory.mktemp("fuzz") / "e.yaml"
    file.write_text(text, encoding="utf-8", errors="surrogatepass")
    try:
        spec.read(file)
    except UserError as error:
        assert "\n" not in str(error)


@settings(max_examples=150, deadline=None)
@given(changes=st.dictionaries(KEYS, VALUES, max_size=4))
def test_any_values_are_read_or_refused(tmp_path_factory, changes):
    content = {**yaml.safe_load(BASE), **changes}
    read_or_refuse(tmp_path_factory, yaml.safe_dump(content, allow_unicode=True))


@settings(max_examples=150, deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=60), at=st.integers(0, len(BASE)))
def test_any_text_is_read_or_refused(tmp_path_factory, text, at):
    read_or_refuse(tmp_path_factory, BASE[:at] + text + BASE[at:])


@pytest.mark.slow
@settings(max_examples=20_000, deadline=None)
@given(text=st.text("{}[]:,&*!|>-#'\"\n ab1.~%@`", max_size=80))
def test_any_yaml_is_read_or_refused(tmp_path_factory, text):
    read_or_refuse(tmp_path_factory, text)
