"""Decoding settings tuned on validation data: the search for them, the file, and what the calibrated task does."""

import dataclasses
import json
import logging
import math
import sys
from argparse import Namespace

import numpy as np
import pytest

import labo_fairseq
from labo_fairseq.calibration.file import Calibration, Decoding, Member, load
from labo_fairseq.cli import main
from labo_fairseq.decoding import tuned, tuning
from labo_fairseq.errors import UserError
from labo_fairseq.functional.calibrators import Temperature
from labo_fairseq.records.generate_log import parse_generate_log

SEARCH = {"beam": 5, "max_len_a": 1.2, "max_len_b": 5}
REFERENCES = ["a b c d e", "f g h i j", "k l m n o", "p q r s t"]


def decoding(lenpen=1.0, temperature=1.0, eos_bias=0.0):
    return Decoding(lenpen, temperature, eos_bias, SEARCH, {"metric": "BLEU"})


# --- the search ---


def made_up(good, scores=((-1.0, -1.9),) * 4):
    """Function decode: a short and a whole translation; the whole one is right at the point `good` alone."""

    def decode(temperature, eos_bias):
        asked.append((temperature, eos_bias))
        right = (temperature, eos_bias) == good
        texts = [[" ".join(line.split()[:2]), line if right else f"{line} x y"] for line in REFERENCES]
        return tuning.Candidates([list(pair) for pair in scores], [[3, 6]] * 4, texts)

    asked = []
    return decode, asked


GRID = tuning.Grid((0.8, 1.0), (-0.5, 0.0), (0.0, 0.5, 1.0, 2.0))


def test_the_best_point_of_a_line_and_its_length_penalty_are_found():
    """−1 / 3^L < −1.9 / 6^L, so that the whole text wins, from L = log 1.9 / log 2 = 0.926 on."""
    decode, asked = made_up((0.8, 0.0))
    found = tuning.tune(decode, tuning.Scorer("bleu", REFERENCES), GRID, tuning.Search())
    got = found.decoding
    assert (got.temperature, got.eos_bias, got.lenpen) == (0.8, 0.0, 1.0)  # 1 rather than 2: nearer to plain decoding
    assert got.measures["tuned"]["score"] == pytest.approx(100) and got.search == {"beam": 5, **vars_of_limits()}
    assert len(asked) == len(set(asked)) == 3  # (1, 0), (0.8, 0) and, from there, (0.8, −0.5): nothing twice
    plain = got.measures["plain"]
    # 5 words of the reference and two more: 7 / 5
    assert plain["length_ratio"] == pytest.approx(1.4) and plain["brevity_penalty"] == 1
    short = next(row for row in found.tried if row.lenpen == 0)
    assert short.length_ratio == pytest.approx(2 / 5)
    assert short.brevity_penalty == pytest.approx(math.exp(1 - 5 / 2))  # of Papineni et al. (2002)


def vars_of_limits():
    return {"max_len_a": 0.0, "max_len_b": 200}


def test_plain_decoding_stays_where_nothing_is_better():
    decode, _ = made_up(None)
    flat = tuning.Grid((0.8, 1.25), (0.5,), (1.0, 2.0))
    found = tuning.tune(decode, tuning.Scorer("chrf", REFERENCES), flat, tuning.Search(beam=2))
    assert (found.decoding.temperature, found.decoding.eos_bias, found.decoding.lenpen) == (1, 0, 1)
    assert found.metric == "chrF2" and found.decoding.measures["cross_fitted"]["difference"] == 0
    assert found.tried[0] == tuning.Tried(1.0, 0.0, 1.0, *(found.decoding.measures["plain"][k] for k in SCORES))


SCORES = ("score", "brevity_penalty", "length_ratio")


def test_the_gain_is_measured_on_the_other_half():
    """A setting that is best for one half alone must not be credited with that half."""

    def decode(temperature, eos_bias):
        kinds = ["both" if temperature == 1 else "first" if half else "second" for half in scorer.halves]
        texts = [[line if kind == "first" else f"{line[:-1]}x"] for kind, line in zip(kinds, REFERENCES, strict=True)]
        return tuning.Candidates([[-1.0]] * 4, [[6]] * 4, texts)

    scorer = tuning.Scorer("bleu", REFERENCES)
    found = tuning.tune(decode, scorer, tuning.Grid((0.5,), (), ()), tuning.Search())
    held = found.decoding.measures["cross_fitted"]
    # T 0.5 is chosen for its half `halves`, and is no better than T 1 on the other one, which it is measured on
    assert found.decoding.temperature == 0.5 and held["difference"] == pytest.approx(0)
    assert found.decoding.measures["tuned"]["score"] > found.decoding.measures["plain"]["score"] + 5


def test_no_gain_and_an_end_of_the_grid_are_said():
    decode, _ = made_up((0.8, 0.0))
    found = tuning.tune(decode, tuning.Scorer("bleu", REFERENCES), GRID, tuning.Search())
    assert tuning.problems(found) == []  # two temperatures and two biases are no range that could be left
    wider = dataclasses.replace(GRID, temperatures=(0.8, 1.0, 1.2))
    found = tuning.tune(decode, tuning.Scorer("bleu", REFERENCES), wider, tuning.Search())
    assert tuning.problems(found) == [
        "the best temperature is 0.8, at the end of what was tried: try more with --tune-temperatures"
    ]


@pytest.mark.parametrize(
    "difference, p, said", [(-0.125, 0.01, True), (0.0, 1.0, True), (0.375, 0.12, True), (0.375, 0.01, False)]
)
def test_a_gain_that_may_be_chance_is_said(difference, p, said):
    decode, _ = made_up((0.8, 0.0))
    found = tuning.tune(decode, tuning.Scorer("bleu", REFERENCES), GRID, tuning.Search())
    measures = {**found.decoding.measures, "cross_fitted": {"difference": difference, "p_bootstrap": p}}
    changed = dataclasses.replace(found, decoding=dataclasses.replace(found.decoding, measures=measures))
    assert any("which may be chance" in line for line in tuning.problems(changed)) == said


# --- the runs of beam search ---


@pytest.fixture
def decoder(tiny_bin, tmp_path, checkpoints, calibrate):
    """Function: the Decoder of the first checkpoint on the test set, at a temperature."""
    from labo_fairseq.fairseq_models.loading import load_models

    labo_fairseq.register()

    def make(temperature=1.0, **search):
        file = calibrate((checkpoints[0], Temperature(temperature)))
        paths = [str(checkpoints[0])]
        models, task = load_models(paths, str(tiny_bin), "cpu")
        settings = tuning.TuningSettings(
            str(tiny_bin), paths, subset="test", search=tuning.Search(**{**SEARCH, **search}), max_tokens=60
        )
        return tuning.Decoder(models, task, load(file), file, settings, tmp_path / "runs")

    return make


@pytest.fixture
def stock(tiny_bin, tmp_path):
    """Function: the Sentences that fairseq-generate prints on the test set, with these flags."""
    import fairseq_cli.generate
    from fairseq import options

    labo_fairseq.register()

    def run(path, *flags, batch=("--max-tokens", 60)):
        line = [tiny_bin, "-s", "de", "-t", "en", "--path", path, "--beam", 5, "--max-len-a", 1.2, "--max-len-b", 5]
        line += [*batch, "--cpu", "--results-path", tmp_path / "results", *flags]
        args = options.parse_args_and_arch(options.get_generation_parser(), list(map(str, line)))
        fairseq_cli.generate.main(args)
        text = (tmp_path / "results" / "generate-test.txt").read_text(encoding="utf-8")
        return parse_generate_log(text, "stock")

    return run


@pytest.mark.parametrize(
    "lenpen", [1.0, *(pytest.param(value, marks=pytest.mark.slow) for value in (-1.0, 0.0, 0.7, 3.0))]
)
def test_ranking_anew_is_decoding_anew(decoder, stock, checkpoints, lenpen):
    """All length penalties come from one run: the texts must be those of fairseq-generate --lenpen."""
    decode = decoder()
    found = decode(1.0, 0.0)
    expected = stock(checkpoints[0], "--lenpen", lenpen)
    assert [s.target for s in expected] == decode.references
    chosen = [texts[i] for texts, i in zip(found.texts, found.best(lenpen), strict=True)]
    assert chosen == [" ".join(sentence.hypotheses[0].tokens) for sentence in expected]


@pytest.mark.slow
def test_a_temperature_of_the_search_multiplies_that_of_the_calibrator(decoder, stock, checkpoints):
    found = decoder(1.6)(0.5, 0.0)
    expected = stock(checkpoints[0], "--temperature", 0.8)
    assert [texts[i] for texts, i in zip(found.texts, found.best(1.0), strict=True)] == [
        " ".join(sentence.hypotheses[0].tokens) for sentence in expected
    ]


@pytest.mark.slow
def test_a_run_is_kept_and_others_get_files_of_their_own(decoder, monkeypatch):
    decode = decoder()
    first = decode(1.0, -0.5)
    monkeypatch.setattr(tuning.Decoder, "_search", None)  # calling it would fail
    assert decoder()(1.0, -0.5) == first
    for other in (decoder(2.0), decoder(beam=3), decoder(max_len_b=9)):
        with pytest.raises(TypeError):
            other(1.0, -0.5)


@pytest.mark.slow
def test_an_eos_bias_changes_the_lengths(decoder):
    decode = decoder()
    words = [np.mean([len(t[i].split()) for t, i in zip(c.texts, c.best(1.0), strict=True)]) for c in
             (decode(1.0, bias) for bias in (-4.0, 0.0, 4.0))]  # fmt: skip
    assert words[0] > words[1] > words[2]


# --- the calibrated task ---


def test_what_was_tuned_is_applied(stock, calibrate, checkpoints, caplog):
    """Temperature and length penalty: fairseq's own flags are the independent implementation."""
    file = calibrate((checkpoints[0], Temperature(1.25)), decoding=decoding(lenpen=0.3, temperature=0.8 * 1.7))
    with caplog.at_level(logging.INFO, "labo_fairseq.decoding.tuned"):
        found = stock(checkpoints[0], "--task", "calibrated_translation", "--calibration", file)
    expected = stock(checkpoints[0], "--temperature", 1.7, "--lenpen", 0.3)
    assert texts_and_scores(found) == texts_and_scores(expected)
    assert f"{file}: tuned decoding: length penalty 0.3, temperature 1.36, EOS bias 0" in caplog.text


def texts_and_scores(sentences):
    return [(s.hypotheses[0].tokens, pytest.approx(s.hypotheses[0].score, abs=1e-4)) for s in sentences]


@pytest.mark.slow
def test_an_eos_bias_is_that_of_the_decoder(stock, calibrate, checkpoints, decoder):
    found = decoder()(0.9, -2.0)
    file = calibrate((checkpoints[0], Temperature(1.0)), decoding=decoding(1.5, 0.9, -2.0))
    got = stock(checkpoints[0], "--task", "calibrated_translation", "--calibration", file)
    chosen = [texts[i] for texts, i in zip(found.texts, found.best(1.5), strict=True)]
    assert [" ".join(s.hypotheses[0].tokens) for s in got] == chosen
    plain = stock(checkpoints[0])
    assert sum(len(s.hypotheses[0].tokens) for s in got) > sum(len(s.hypotheses[0].tokens) for s in plain)


@pytest.mark.parametrize(
    "flags",
    [
        ["--tuned-decoding", "ignore"],
        *(
            pytest.param(line, marks=pytest.mark.slow)
            for line in (["--score-reference"], ["--sampling", "--nbest", 5, "--seed", 1])
        ),
    ],
)
@pytest.mark.slow
def test_where_it_is_not_used(stock, calibrate, checkpoints, flags):
    """What decodes without beam search keeps the calibrated probabilities; `ignore` is the file without the part."""
    runs = []
    for content in ({}, {"decoding": decoding(0.3, 0.5, -2.0)}):
        file = calibrate((checkpoints[0], Temperature(1.25)), **content)
        runs.append(stock(checkpoints[0], "--task", "calibrated_translation", "--calibration", file, *flags))
    assert runs[0] == runs[1]


@pytest.mark.parametrize("lenpen", ["1", *(pytest.param(value, marks=pytest.mark.slow) for value in ("2", "0.3"))])
@pytest.mark.slow
def test_a_length_penalty_of_the_command_line_goes_before(stock, calibrate, checkpoints, monkeypatch, caplog, lenpen):
    """--lenpen 1 too, although it is fairseq's default."""
    file = calibrate((checkpoints[0], Temperature(1.0)), decoding=decoding(lenpen=0.3, temperature=1.7))
    monkeypatch.setattr(sys, "argv", ["fairseq-generate", "data", f"--lenpen={lenpen}"])
    flags = ["--task", "calibrated_translation", "--calibration", file, "--lenpen", lenpen]
    found = stock(checkpoints[0], *flags)
    assert texts_and_scores(found) == texts_and_scores(stock(checkpoints[0], "--temperature", 1.7, "--lenpen", lenpen))
    assert f"--lenpen {lenpen} goes before the tuned length penalty 0.3" in caplog.text


def arguments(**given):
    return Namespace(**{"lenpen": 1, "beam": 5, "max_len_a": 1.2, "max_len_b": 5, **given})


@pytest.fixture
def calibration():
    members = [Member("a.pt", "0" * 64, Temperature(1.0))]
    return Calibration(members, {"sha256": "0", "types": 9}, {}, decoding=decoding(0.3, 0.5, -2.0))


@pytest.mark.parametrize("word", ["--temperature", "--temperature=1", "--temp"])
def test_a_temperature_of_the_command_line_is_refused(monkeypatch, calibration, word):
    monkeypatch.setattr(sys, "argv", ["fairseq-generate", "data", word, "1"])
    with pytest.raises(UserError, match=r"^--temperature: not with the tuned decoding of c\.json: .*ignore"):
        tuned.decoding_for(calibration, "c.json", arguments())


@pytest.mark.parametrize("line", [["--tokenizer", "moses"], ["-t", "en"], ["--", "x"], ["--beam", "5", "lenpen"]])
def test_other_words_of_a_command_line_are_no_such_flag(monkeypatch, calibration, line):
    monkeypatch.setattr(sys, "argv", ["fairseq-generate", *line])
    assert tuned.decoding_for(calibration, "c.json", arguments()) == calibration.decoding


@pytest.mark.parametrize("flag, value", [("beam", 4), ("max_len_b", 200), ("max_len_a", 0.0)])
def test_another_search_than_the_tuned_one_is_warned_of(monkeypatch, calibration, caplog, flag, value):
    monkeypatch.setattr(sys, "argv", ["fairseq-generate"])
    tuned.decoding_for(calibration, "c.json", arguments())
    assert "was tuned with" not in caplog.text
    tuned.decoding_for(calibration, "c.json", arguments(**{flag: value}))
    assert f"was tuned with --{flag.replace('_', '-')} {SEARCH[flag]:g}, not {value:g}" in caplog.text


@pytest.mark.parametrize(
    "other", [{"sampling": True}, {"diverse_beam_groups": 2}, {"diversity_rate": 0.5}, {"constraints": "ordered"}]
)
def test_another_kind_of_search_is_left_alone(monkeypatch, calibration, other):
    monkeypatch.setattr(sys, "argv", ["fairseq-generate"])
    assert tuned.decoding_for(calibration, "c.json", arguments(**other)) is None


# --- the command ---


def calibrate_command(capsys, *flags):
    code = main(["calibrate", *map(str, flags), "--cpu"])
    return code, *capsys.readouterr()


FEW = ["--tune-temperatures", 0.8, "--tune-eos-biases", -0.5, "--tune-lenpens", 0.5, 2]


def test_the_command_tunes_writes_and_goes_on(tiny_bin, checkpoints, tmp_path, capsys):
    line = [tiny_bin, "--path", checkpoints[0], "--out", tmp_path / "out", "--tune-decoding", *FEW]
    code, out, _ = calibrate_command(capsys, *line)
    assert code == 0
    heading, plain, best, *runs = [text.split("\t") for text in out.splitlines() if not text.startswith("#")]
    assert heading == ["setting", "temperature", "eos bias", "lenpen", "BLEU", "brevity penalty", "length ratio"]
    assert plain[:4] == ["plain", "1.0000", "0.0000", "1.0000"] and best[0] == "tuned"
    assert float(best[4]) >= max(float(row[4]) for row in [plain, *runs])
    assert "gain on sentences that the choice was not made on" in out
    written = load(tmp_path / "out" / "calibration.json").decoding
    assert [f"{x:.4f}" for x in (written.temperature, written.eos_bias, written.lenpen)] == best[1:4]
    assert written.search == {"beam": 5, "max_len_a": 0.0, "max_len_b": 200}
    everything = json.loads((tmp_path / "out" / "tuning.json").read_text())
    rows = (tmp_path / "out" / "tuning.tsv").read_text().splitlines()
    assert len([row for row in rows if not row.startswith("#")]) == 1 + len(everything["tried"])
    # three length penalties (1 is always among them) for each run
    assert len(everything["tried"]) == 3 * len(runs)
    assert everything["decoding"]["lenpen"] == written.lenpen

    code, again, errors = calibrate_command(capsys, *line, "--json")
    assert code == 0 and json.loads(again) == everything and "is there, and its calibrator is used" in errors


def test_a_file_without_the_flag_is_as_before(tiny_bin, checkpoints, tmp_path, capsys):
    assert calibrate_command(capsys, tiny_bin, "--path", checkpoints[0], "--out", tmp_path)[0] == 0
    content = json.loads((tmp_path / "calibration.json").read_text())
    assert list(content) == [
        "format", "version", "labo_fairseq", "signature", "corpus", "dictionary", "members", "measures",
        "sentence_confidence",
    ]  # fmt: skip


def test_a_sentence_confidence_of_the_former_decoding_is_removed(tiny_bin, checkpoints, calibrate, capsys):
    record = {
        "features": ["mean log-prob", "least log-prob", "log(tokens)"],
        "weights": [1, 1, 1],
        "bias": 0,
        "chrf": 9,
    }
    file = calibrate((checkpoints[0], Temperature(1.0)), sentence_confidence=record)
    line = [tiny_bin, "--path", checkpoints[0], "--out", file.parent, "--tune-decoding", "chrf", *FEW]
    code, _, errors = calibrate_command(capsys, *line)
    assert code == 0 and "its sentence confidence is removed" in errors
    assert load(file).sentence_confidence is None and load(file).decoding.measures["metric"] == "chrF2"


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--tune-temperatures", 0], "--tune-temperatures: 0.0 is out of range"),
        (["--tune-temperatures", "nan"], "--tune-temperatures: nan is out of range"),
        (["--tune-eos-biases", 1e9], "--tune-eos-biases: 1000000000.0 is out of range"),
        (["--tune-lenpens", "inf"], "--tune-lenpens: inf is out of range"),
        (["--tune-max-len-a", -1], "--tune-max-len-a: -1.0 is out of range"),
        (["--sweep"], "--sweep: not together with --tune-decoding"),
        (["--subset", "nowhere"], "nowhere"),
    ],
)
def test_bad_settings_are_one_line(tiny_bin, checkpoints, tmp_path, capsys, flags, message):
    line = [tiny_bin, "--path", checkpoints[0], "--out", tmp_path, "--tune-decoding", *flags]
    code, out, errors = calibrate_command(capsys, *line)
    assert code == 2 and not out and message in errors.splitlines()[-1]


def test_a_calibration_of_other_checkpoints_is_refused(tiny_bin, checkpoints, calibrate, capsys):
    file = calibrate((checkpoints[1], Temperature(1.0)))
    line = [tiny_bin, "--path", checkpoints[0], "--out", file.parent, "--tune-decoding", *FEW]
    code, _, errors = calibrate_command(capsys, *line)
    assert code == 2 and f"{file}: was not fitted to {checkpoints[0]}" in errors
