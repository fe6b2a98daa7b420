"""labo translate against fairseq-generate, on a small trained model, by the installed commands."""

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from labo_fairseq.calibration.file import Calibration, Member, dictionary_record, save
from labo_fairseq.cli import main
from labo_fairseq.decoding import translate
from labo_fairseq.decoding.translate import Sentence, batches
from labo_fairseq.files import sha256
from labo_fairseq.functional.calibrators import Temperature
from labo_fairseq.records.generate_log import parse_generate_log, read_generate_log

pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install labo_fairseq[fast]")

TEMPERATURE = 1.7


@pytest.fixture(scope="module")
def checkpoint(tiny_bin, tmp_path_factory, run_cli):
    """Of a Transformer that has learnt a part of the tiny corpus, so that its beams still differ."""
    folder = tmp_path_factory.mktemp("trained")
    dims = "--encoder-layers 1 --decoder-layers 2 --encoder-embed-dim 32 --decoder-embed-dim 32"
    dims += " --encoder-ffn-embed-dim 64 --decoder-ffn-embed-dim 64"
    dims += " --encoder-attention-heads 2 --decoder-attention-heads 2"
    settings = (
        "--lr 0.01 --optimizer adam --max-tokens 400 --max-update 120 --dropout 0 --seed 3 --no-epoch-checkpoints"
    )
    line = ["--arch", "transformer", *dims.split(), *settings.split(), "--share-all-embeddings", "--cpu"]
    done = run_cli("fairseq-train", tiny_bin, *line, "--save-dir", folder, "--disable-validation")
    assert done.returncode == 0, done.stderr
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="module")
def exported(checkpoint, tiny_bin, tmp_path_factory, run_cli):
    """Folders of the model at T = 1 and at TEMPERATURE."""
    from fairseq.data import Dictionary

    folder = tmp_path_factory.mktemp("exported")
    record = dictionary_record(Dictionary.load(str(tiny_bin / "dict.en.txt")))
    member = Member(checkpoint.name, sha256(checkpoint), Temperature(TEMPERATURE))
    save(Calibration([member], record, {}), folder / "calibration.json")
    for name, flags in (("plain", []), ("calibrated", ["--calibration", folder / "calibration.json"])):
        line = ["--ctranslate2", checkpoint, "--data", tiny_bin, "--out", folder / name, *flags]
        done = run_cli("labo", "export", *line)
        assert done.returncode == 0, done.stderr
    return {name: folder / name for name in ("plain", "calibrated")}


def compared(ours, stock, least_equal):
    """Same sentences; same texts in a share of at least `least_equal`, and for these the same scores within 1e-3."""
    assert [(s.id, s.source, s.target) for s in ours] == [(s.id, s.source, s.target) for s in stock]
    pairs = [pair for s, t in zip(ours, stock, strict=True) for pair in zip(s.hypotheses, t.hypotheses, strict=True)]
    same = [(a, b) for a, b in pairs if (a.tokens, a.text) == (b.tokens, b.text)]
    assert len(same) >= least_equal * len(pairs)
    for a, b in same:
        assert a.score == pytest.approx(b.score, abs=1e-3)
        assert a.positional_scores == pytest.approx(b.positional_scores, abs=1e-3)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(
    "model, flags, stock_flags",
    [
        ("plain", "", ""),
        ("calibrated", "", f"--temperature {TEMPERATURE}"),
        slow("plain", "--beam 4 --nbest 3 --lenpen 0.6 --batch-size 7", ""),
        slow("plain", "--max-len-a 0.5 --max-len-b 0 --batch-size 1", ""),  # the limit cuts nearly all
        slow("plain", "--beam 1", ""),
    ],
)
def test_equals_fairseq_generate(exported, checkpoint, tiny_bin, run_cli, model, flags, stock_flags):
    common = ["--gen-subset", "train", "--tokenizer", "moses", *flags.split()]
    ours = run_cli("labo", "translate", exported[model], "--data", tiny_bin, *common)
    assert ours.returncode == 0, ours.stderr
    line = ["--path", checkpoint, "--cpu", "--required-batch-size-multiple", 1, *common, *stock_flags.split()]
    stock = run_cli("fairseq-generate", tiny_bin, "-s", "de", "-t", "en", *line)
    assert stock.returncode == 0, stock.stderr
    assert "Translated 60 sentences" in ours.stderr
    compared(parse_generate_log(ours.stdout, "ours"), parse_generate_log(stock.stdout, "stock"), 0.95)


def run_main(capsys, *arguments):
    code = main(list(map(str, ["translate", *arguments])))
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_text_gives_what_the_binaries_give(exported, tiny_bin, tiny_text, capsys):
    code, from_text, _ = run_main(capsys, exported["plain"], "--input", tiny_text / "test.de")
    assert code == 0
    _, from_data, _ = run_main(capsys, exported["plain"], "--data", tiny_bin)
    lines = [line for line in from_data.splitlines() if not line.startswith("T-")]
    assert from_text.splitlines() == lines
    assert [line[2:4] for line in lines if line.startswith("S-")][:3] == ["0\t", "1\t", "2\t"]


def test_batching_changes_no_translation(exported, tiny_bin, capsys):
    logs = []
    for flags in (["--max-tokens", 30], ["--batch-size", 1, "--threads", 2], []):
        code, out, _ = run_main(capsys, exported["calibrated"], "--data", tiny_bin, *flags)
        assert code == 0
        logs.append(parse_generate_log(out, "log"))
    for log in logs[1:]:
        compared(log, logs[0], 1.0)


def test_unknown_words_are_translated_and_an_empty_line_stays_empty(exported, tmp_path, capsys):
    (tmp_path / "in").write_text("\nd1 neverseen d2\n\n", encoding="utf-8")
    code, out, _ = run_main(capsys, exported["plain"], "--input", tmp_path / "in")
    sentences = parse_generate_log(out, "out")
    assert code == 0 and [s.source for s in sentences] == ["", "d1 neverseen d2", ""]
    assert [len(s.hypotheses[0].tokens) > 0 for s in sentences] == [False, True, False]
    for sentence in sentences:
        assert len(sentence.hypotheses[0].positional_scores) == len(sentence.hypotheses[0].tokens) + 1


def test_no_input_at_all(exported, tmp_path, capsys):
    (tmp_path / "in").write_text("")
    code, out, err = run_main(capsys, exported["plain"], "--input", tmp_path / "in")
    assert (code, out) == (0, "") and "Translated 0 sentences" in err


def test_the_score_is_the_mean_of_the_tokens_scores(exported, tiny_bin, tmp_path, capsys):
    _, out, _ = run_main(capsys, exported["plain"], "--data", tiny_bin)
    (tmp_path / "log").write_text(out, encoding="utf-8")
    for sentence in read_generate_log(tmp_path / "log"):
        best = sentence.hypotheses[0]
        assert best.score == pytest.approx(sum(best.positional_scores) / len(best.positional_scores), abs=1e-4)


def test_labo_score_reads_it(exported, tiny_bin, tmp_path, capsys):
    _, out, _ = run_main(capsys, exported["plain"], "--data", tiny_bin)
    (tmp_path / "log").write_text(out, encoding="utf-8")
    assert main(["score", "--tokenized", "--system", f"fast={tmp_path / 'log'}"]) == 0
    assert capsys.readouterr().out.startswith("system\tBLEU")


# --- lines ---

subwords = st.lists(st.text("ab▁@", min_size=1, max_size=4), max_size=6)


@given(subwords, st.sampled_from([None, "@@ ", "subword_nmt", "sentencepiece"]))
def test_joining_is_that_of_fairseq(tokens, symbol):
    from fairseq.data.data_utils import post_process

    display = translate.Display(symbol, None, "en")
    assert display._joined(tokens) == post_process(" ".join(tokens), symbol)


@given(st.lists(st.integers(0, 30)), st.integers(1, 80), st.none() | st.integers(1, 5))
def test_batches_hold_every_sentence_once_within_the_limits(lengths, max_tokens, batch_size):
    sentences = [Sentence(i, ["w"] * length) for i, length in enumerate(lengths)]
    made = list(batches(sentences, max_tokens, batch_size))
    assert sorted(s.id for batch in made for s in batch) == list(range(len(lengths)))
    for batch in made:
        width = max(len(s.source) for s in batch) + 1
        assert len(batch) == 1 or width * len(batch) <= max_tokens
        assert len(batch) <= (batch_size or len(batch))


# --- bad input ---


@pytest.mark.parametrize(
    "lengths, skipped",
    [
        ([1, 1024, 2], [1]),
        ([1023, 1024], [1]),  # 1023 and the end of the sentence are all 1024 positions
        ([2000, 1, 1024, 3], [0, 2]),
        ([1024] * 11 + [1], range(11)),
    ],
)
def test_sentences_beyond_the_positions_are_skipped(exported, tmp_path, capsys, lengths, skipped):
    (tmp_path / "in").write_text("".join("d1 " * length + "\n" for length in lengths), encoding="utf-8")
    code, out, err = run_main(capsys, exported["plain"], "--input", tmp_path / "in", "--beam", 1, "--max-len-b", 5)
    assert code == 0
    kept = [i for i in range(len(lengths)) if i not in skipped]
    assert [line.partition("\t")[0] for line in out.splitlines() if line.startswith("H-")] == [f"H-{i}" for i in kept]
    (warning,) = [line for line in err.splitlines() if line.startswith("warning")]
    listed = ", ".join(map(str, list(skipped)[:10])) + ", …" * (len(skipped) > 10)
    assert f"{len(skipped)} of {len(lengths)} sentences skipped" in warning and warning.endswith(f"ids {listed}")
    assert f"needs {max(lengths) + 1}" in warning


def test_nothing_but_sentences_beyond_the_positions(exported, tmp_path, capsys):
    (tmp_path / "in").write_text("d1 " * 1024 + "\n", encoding="utf-8")
    code, out, err = run_main(capsys, exported["plain"], "--input", tmp_path / "in")
    assert code == 2 and out == "" and "every sentence is too long (up to 1025 subwords with its end)" in err


def test_bytes_that_are_not_text(exported, tmp_path, capsys):
    (tmp_path / "in").write_bytes(b"d1\n\xff\xfe\n")
    code, _, err = run_main(capsys, exported["plain"], "--input", tmp_path / "in")
    assert code == 2 and "in:2: not UTF-8" in err


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--beam", 0], "--beam: 0"),
        (["--beam", 2, "--nbest", 3], "--nbest: 3"),
        (["--max-tokens", 0], "--max-tokens: 0"),
        (["--batch-size", 0], "--batch-size: 0"),
        (["--lenpen", "nan"], "--lenpen"),
        (["--max-len-a", "-1"], "--max-len-a"),
        (["--threads", -1], "--threads: -1"),
        (["--input", "no-such-file"], "no-such-file"),
        (["--data", "no-such-folder"], "no-such-folder"),
    ],
)
def test_bad_flags(exported, flags, message, capsys):
    code, _, err = run_main(capsys, exported["plain"], *flags)
    assert code == 2 and message in err and "Traceback" not in err


def test_other_data_and_splits(exported, tiny_bin, tmp_path, capsys):
    code, _, err = run_main(capsys, exported["plain"], "--data", tiny_bin, "--gen-subset", "dev")
    assert code == 2 and "no split 'dev'" in err
    for language in ("de", "en"):
        (tmp_path / f"dict.{language}.txt").write_text("d1 1\n")
    code, _, err = run_main(capsys, exported["plain"], "--data", tmp_path)
    assert code == 2 and "not the dictionary of the exported model" in err


def test_damaged_models(exported, tmp_path, capsys):
    code, _, err = run_main(capsys, tmp_path)
    assert code == 2 and "labo.json" in err
    broken = shutil.copytree(exported["plain"], tmp_path / "broken")
    (broken / "model.bin").write_bytes((broken / "model.bin").read_bytes()[:1000])
    code, _, err = run_main(capsys, broken)
    assert code == 2 and "cannot load it" in err
    (broken / "labo.json").write_text(json.dumps({"format": "other"}))
    code, _, err = run_main(capsys, broken)
    assert code == 2 and "not a record" in err


# --- labo benchmark decode ---


def test_the_benchmark_times_both(checkpoint, exported, tiny_bin, capsys):
    line = ["--path", checkpoint, "--engine", exported["plain"], "--data", tiny_bin, "--repetitions", 1, "--threads", 1]
    assert main(list(map(str, ["benchmark", "decode", *line, "--json"]))) == 0
    stock, fast = json.loads(capsys.readouterr().out)["rows"]
    assert stock["candidate"] == "fairseq" and fast["candidate"].startswith("ctranslate2")
    assert stock["ratio"] == 1 and fast["ratio"] == pytest.approx(fast["median_s"] / stock["median_s"])


def test_the_benchmark_needs_a_checkpoint(capsys):
    assert main(["benchmark", "decode"]) == 2
    assert "--data: missing" in capsys.readouterr().err
    assert main(["benchmark", "decode", "--data", "data-bin", "--path", "absent.pt"]) == 2
    assert "absent.pt: no such file" in capsys.readouterr().err


@pytest.fixture(scope="module")
def int8(checkpoint, tiny_bin, tmp_path_factory, run_cli):
    """(folder, what the command printed) of the model with weights of a byte each."""
    folder = tmp_path_factory.mktemp("int8") / "model"
    line = ["--ctranslate2", checkpoint, "--data", tiny_bin, "--out", folder, "--quantization", "int8"]
    done = run_cli("labo", "export", *line)
    assert done.returncode == 0, done.stderr
    return folder, dict(line.split("\t") for line in done.stdout.splitlines())


def test_int8_is_smaller_and_off_by_what_is_printed(int8, exported):
    """Rounding to 127 steps changes scores by far more than float32 does, and by less than a nat."""
    folder, printed = int8
    assert json.loads((folder / "labo.json").read_text())["quantization"] == "int8"
    assert (folder / "model.bin").stat().st_size < 0.7 * (exported["plain"] / "model.bin").stat().st_size
    assert float(printed["largest_difference_nats"]) < 1e-3 < float(printed["quantization_difference_nats"]) < 1


@pytest.mark.parametrize("flags", [[], ["--compute-type", "float32"], ["--device", "auto"]])
def test_int8_translates(int8, exported, tiny_bin, capsys, flags):
    """As the model in float32 does, but for a few sentences whose beams are close."""
    texts = []
    for folder, more in ((exported["plain"], []), (int8[0], flags)):
        assert main(["translate", str(folder), "--data", str(tiny_bin), "--beam", "2", "--threads", "1", *more]) == 0
        texts.append([s.hypotheses[0].tokens for s in parse_generate_log(capsys.readouterr().out, "log")])
    same = [a == b for a, b in zip(*texts, strict=True)]
    assert sum(same) >= 0.7 * len(same)


@pytest.mark.parametrize(
    "command, flags, message",
    [
        ("translate", ["--compute-type", "int3"], "--compute-type: int3: this cpu has "),
        ("translate", ["--device", "cuda"], "--device cuda: CTranslate2 sees no CUDA device"),
        ("export", ["--quantization", "int4"], "--quantization: int4: choose from float32, "),
    ],
)
def test_what_the_engine_cannot_do(exported, checkpoint, tiny_bin, tmp_path, capsys, command, flags, message):
    line = {
        "translate": [exported["plain"], "--data", tiny_bin],
        "export": ["--ctranslate2", checkpoint, "--data", tiny_bin, "--out", tmp_path / "out"],
    }[command]
    if flags == ["--device", "cuda"] and __import__("ctranslate2").get_cuda_device_count():
        pytest.skip("there is a CUDA device")
    assert main([command, *map(str, line), *flags]) == 2
    err = capsys.readouterr().err
    assert message in err and len(err.splitlines()) == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("flags", [[], ["--lenpen", 3], ["--lenpen", 1]])
def test_the_tuned_length_penalty_is_the_default(exported, tiny_bin, tmp_path, capsys, flags):
    """Of the record alone, so that a folder with it must give what --lenpen gives on one without."""
    shutil.copytree(exported["plain"], tmp_path / "tuned")
    record = tmp_path / "tuned" / "labo.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "lenpen": 0.2}))
    outputs = []
    for folder, line in ((tmp_path / "tuned", flags), (exported["plain"], flags or ["--lenpen", 0.2])):
        assert main(list(map(str, ["translate", folder, "--data", tiny_bin, "--beam", 5, *line]))) == 0
        outputs.append(capsys.readouterr())
    assert outputs[0].out == outputs[1].out
    assert ("tuned length penalty 0.2" in outputs[0].err) == (not flags)


@pytest.mark.parametrize("lenpen", ['"1"', "null", "[1]", "NaN", "true-ish"])
def test_a_damaged_length_penalty_is_one_line(exported, tmp_path, capsys, lenpen):
    shutil.copytree(exported["plain"], tmp_path / "damaged")
    record = tmp_path / "damaged" / "labo.json"
    text = record.read_text()
    record.write_text(text.replace('"lenpen": 1.0', f'"lenpen": {lenpen}'))
    assert record.read_text() != text
    assert main(["translate", str(tmp_path / "damaged")]) == 2
    assert "labo.json: damaged" in capsys.readouterr().err
