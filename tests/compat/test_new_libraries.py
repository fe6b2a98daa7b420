"""F29, F33, F34: what fairseq does with names that numpy 2 and bitarray 3 no longer have, and with a shell."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from labo_fairseq.compat import mends, source

FAIRSEQ = Path(sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
# of numpy's own list: https://numpy.org/doc/stable/numpy_2_0_migration_guide.html, and the aliases that 1.24 dropped
GONE = re.compile(
    r"\bnp\.(?:int|float|bool|object|long|str|complex|compat|Inf|Infinity|infty|NaN|NAN|PINF|NINF|product|cumproduct"
    r"|alltrue|sometrue|asfarray|msort|float_|complex_|unicode_|string_|cast|find_common_type|issctype|issubclass_"
    r"|issubsctype|mat|round_|safe_eval|source|who|lookfor|byte_bounds|obj2sctype|sctype2char|set_string_function"
    r"|recfromcsv|recfromtxt|deprecate|disp|geterrobj|nbytes|trapz|in1d|row_stack|maximum_sctype|sctypes)\b"
    r"(?!\.)|tostring_rgb|util\.rindex|interpolation=\""
)


def source_files():
    """[(name of a module, its text as the bridge runs it)] of fairseq without its examples."""
    for top in ("fairseq", "fairseq_cli"):
        for path in sorted((FAIRSEQ / top).rglob("*.py")):
            place = path.relative_to(FAIRSEQ).as_posix()
            if place.startswith("fairseq/examples"):
                continue
            module = place.removesuffix(".py").replace("/", ".")
            text = path.read_text(encoding="utf-8")
            for mend in mends.SOURCE_MENDS.get(module, []):
                text = mend(text) or text
            yield module, text


def test_no_name_that_is_gone_is_left():
    files = list(source_files())
    assert len(files) > 300
    found = [f"{module}: {match.group()}" for module, text in files for match in GONE.finditer(text)]
    assert not found


def test_what_the_walk_looks_for_is_gone_indeed():
    names = ["int", "float", "compat", "product", "Inf"]
    assert all(GONE.search(f"np.{name}(") for name in names)
    # in a process of its own: some library that other tests import gives one of them back
    line = f"import numpy; print([name for name in {names} if hasattr(numpy, name)])"
    assert subprocess.run([sys.executable, "-c", line], capture_output=True, text=True).stdout.strip() == "[]"
    assert not GONE.search("np.int64(3) + np.float32(1) + np.floating")


def test_blocks_of_one_sentence_each():
    from fairseq.data import TokenBlockDataset

    sentences = [torch.tensor([5, 4, 3, 2, 1]), torch.tensor([1]), torch.tensor([8, 7, 6, 1])]
    blocks = TokenBlockDataset(sentences, [5, 1, 4], block_size=None, pad=0, eos=1, break_mode="eos")
    assert [block.tolist() for block in blocks] == [sentence.tolist() for sentence in sentences]


@pytest.mark.parametrize("dtype", [np.int64, np.int32, list])
def test_pairs_in_buckets(dtype):
    from fairseq.data import Dictionary, LanguagePairDataset, ListDataset

    words = Dictionary()
    words.add_symbol("a")
    lengths = [2, 9, 4, 4, 7]
    texts = ListDataset([torch.full((n,), 4) for n in lengths], lengths)
    sizes = lengths if dtype is list else np.array(lengths, dtype)
    pairs = LanguagePairDataset(texts, sizes, words, texts, sizes, words, num_buckets=2)
    # the largest of the lower half of the lengths, 2 4 4, and of all
    assert pairs.buckets == [(None, 4), (None, 9)]
    assert [pairs.num_tokens(i) for i in range(5)] == [4, 9, 4, 4, 9]


@pytest.mark.parametrize(("buckets", "wanted"), [(1, [9]), (2, [4, 9]), (4, [4, 7, 9]), (9, [2, 4, 7, 9])])
def test_buckets_are_lengths_that_occur(buckets, wanted):
    """The percentile below or at each cut of (2, 4, 4, 7, 9): `lower` never makes a length of its own."""
    from fairseq.data.data_utils import get_buckets

    assert get_buckets(np.array([2, 9, 4, 4, 7]), buckets).tolist() == wanted


def test_spans_that_do_not_overlap():
    from fairseq.data.data_utils import compute_mask_indices

    np.random.seed(1)
    mask = compute_mask_indices((2, 40), None, 0.5, 4, no_overlap=True, min_space=1)
    assert mask.shape == (2, 40) and mask.any(1).all() and not mask.all()


def test_the_normalizer_of_a_crf_is_that_of_all_paths():
    """With a beam as wide as the vocabulary: log Σ over all 4² paths of exp(score)."""
    from fairseq.modules import DynamicCRF

    torch.manual_seed(1)
    crf = DynamicCRF(4, low_rank=3, beam_size=4)
    emissions, targets = torch.randn(1, 2, 4), torch.tensor([[1, 3]])
    # _compute_score adds in place
    normalizer = crf._compute_normalizer(emissions.clone(), targets, torch.ones(1, 2, dtype=torch.bool))
    paths = [crf._compute_score(emissions.clone(), torch.tensor([[a, b]])) for a in range(4) for b in range(4)]
    torch.testing.assert_close(normalizer, torch.logsumexp(torch.stack(paths), 0))


@pytest.mark.parametrize("text", ["a b c", "a", "a a a a a a a a", "c b a " * 30, "b"])
def test_huffman_codes_come_back(text):
    from fairseq.data.huffman import HuffmanCodeBuilder

    builder = HuffmanCodeBuilder()
    builder.add_symbols(*("a b a c a a d e".split()))
    coder = builder.build_code()
    words = text.split()
    assert [node.symbol for node in coder.decode(coder.encode(words))] == words


def test_a_figure_is_pixels():
    pytest.importorskip("matplotlib").use("Agg")
    import matplotlib.pyplot as plt
    from fairseq.tasks.text_to_speech import save_figure_to_numpy

    figure = plt.figure(figsize=(2, 1), dpi=50, facecolor="red")
    figure.canvas.draw()
    pixels = save_figure_to_numpy(figure)
    assert pixels.shape == (50, 100, 3) and pixels.dtype == np.uint8 and (pixels == [255, 0, 0]).all()
    plt.close(figure)


@pytest.mark.parametrize(
    "name",
    ["a; touch executed; .fa", "$(touch executed).fa", "a && touch executed #.fa", "`touch executed`.fa", "'a.fa"],
)
def test_the_path_of_a_fasta_file_is_no_command(name, tmp_path, monkeypatch):
    """F29: --dataset-impl fasta puts the path of the data into a shell's command line."""
    from fairseq.data.fasta_dataset import FastaDataset

    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{Path(sys.executable).parent}:/usr/bin:/bin")
    (tmp_path / f"{name}.fasta").write_text(">x\nACGT\n>y\nAC\n")
    assert FastaDataset(name).sizes.tolist() == [4, 2]
    assert not (tmp_path / "executed").exists()


NOW = {
    "name_things_as_numpy_2_does": "x = np.zeros(3, dtype=np.int64)\nnp.percentile(x, 3, method='lower')\n",
    "find_the_last_bit": "a.find(1, right=True)\n",
    "give_unused_tensors_a_value": "self.register_buffer('_float_tensor', torch.zeros(1))\n",
    "quote_fasta_paths": "subprocess.check_output(['wc', path])\n",
}


@pytest.mark.parametrize("mend", NOW)
def test_a_mend_steps_aside_where_fairseq_knows_it_already(mend):
    assert getattr(source, mend)(NOW[mend]) is None
