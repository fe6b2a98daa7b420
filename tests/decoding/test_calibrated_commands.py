"""The calibrated tasks through the installed fairseq commands."""

import itertools
import json
import math
import re
import shutil
from pathlib import Path

import pytest
import torch

import labo_fairseq
from labo_fairseq.compat.checkpoints import load_safely
from labo_fairseq.errors import UserError
from labo_fairseq.functional.calibrators import Grouped, Temperature
from labo_fairseq.records.generate_log import parse_generate_log

USER_DIR = Path(labo_fairseq.__file__).parent
SEARCH = ["--beam", 5, "--max-len-a", 1.2, "--max-len-b", 5, "--batch-size", 5, "--cpu"]
CONFIDENCE = {
    "features": ["mean log-prob", "least log-prob", "log(tokens)"],
    "weights": [1.5, 0.25, -0.5], "bias": 0.75, "chrf": 50,
}  # fmt: skip


@pytest.fixture
def generate(run_cli, tiny_bin):
    """Function: fairseq-generate on the test set with these checkpoints and flags -> CompletedProcess."""

    def run(paths, *flags, command="fairseq-generate", **options):
        path = ":".join(map(str, paths))
        return run_cli(command, tiny_bin, "-s", "de", "-t", "en", "--path", path, *SEARCH, *flags, **options)

    return run


@pytest.fixture
def translate(tiny_bin, tmp_path):
    """Function: as `generate`, in this process (a second instead of several) -> the text that fairseq-generate prints.

    Raises UserError where the command would end with exit code 2.
    """
    import fairseq_cli.generate
    from fairseq import options

    labo_fairseq.register()

    def run(paths, *flags):
        path = ":".join(map(str, paths))
        line = [tiny_bin, "-s", "de", "-t", "en", "--path", path, *SEARCH, "--results-path", tmp_path / "results"]
        args = options.parse_args_and_arch(options.get_generation_parser(), [*map(str, line), *map(str, flags)])
        fairseq_cli.generate.main(args)
        return (tmp_path / "results" / "generate-test.txt").read_text(encoding="utf-8")

    return run


def task(*flags):
    return ["--task", "calibrated_translation", *flags]


def ours(*flags):
    return ["--user-dir", USER_DIR, *task(*flags)]


def lines(text, kinds="STHDPA"):
    return [line for line in text.splitlines() if re.match(rf"[{kinds}]-\d+\t|Generate ", line)]


def refused(done, message):
    """One line on standard error that holds the message, exit code 2, no traceback."""
    assert done.returncode == 2 and "Traceback" not in done.stderr, done.stderr[-2000:]
    assert re.search(message, done.stderr.splitlines()[-1]), done.stderr[-2000:]


@pytest.mark.parametrize(
    "count, flags",
    [
        pytest.param(1, [], marks=pytest.mark.slow),
        (2, []),
        pytest.param(2, ["--score-reference"], marks=pytest.mark.slow),
    ],
)
def test_t_1_gives_the_bytes_of_stock_fairseq(generate, calibrate, checkpoints, count, flags):
    paths = checkpoints[:count]
    file = calibrate(*((path, Temperature(1.0)) for path in paths))
    stock = generate(paths, *flags)
    found = generate(paths, *flags, *ours("--calibration", file))
    assert stock.returncode == found.returncode == 0, found.stderr[-2000:]
    assert len(lines(stock.stdout)) > 12 * 5 and lines(found.stdout) == lines(stock.stdout)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_t_1_in_the_scorer(translate, calibrate, checkpoints, count):
    paths = checkpoints[:count]
    file = calibrate(*((path, Temperature(1.0)) for path in paths))
    stock = translate(paths, "--score-reference")
    assert lines(translate(paths, "--score-reference", *task("--calibration", file))) == lines(stock)


@pytest.mark.slow
def test_a_scalar_is_fairseqs_own_temperature_for_one_model(translate, calibrate, checkpoints):
    """fairseq's --temperature is an independent implementation of the scalar, in beam search."""
    stock = translate(checkpoints[:1], "--temperature", 1.7)
    found = translate(checkpoints[:1], *task("--calibration", calibrate((checkpoints[0], Temperature(1.7)))))
    same_hypotheses(found, stock, 1e-5)


@pytest.mark.slow
def test_equal_and_unequal_scalars_of_an_ensemble(translate, calibrate, checkpoints):
    """Equal ones are left to fairseq's own division; nearly equal ones go through the members, to the same scores."""
    scores = []
    for second in (1.7, 1.7000001):
        file = calibrate((checkpoints[0], Temperature(1.7)), (checkpoints[1], Temperature(second)))
        scores.append(translate(checkpoints, *task("--calibration", file)))
    same_hypotheses(*scores, 1e-5)
    same_hypotheses(scores[0], translate(checkpoints, "--temperature", 1.7), 1e-5)


def same_hypotheses(a, b, tolerance):
    pairs = zip(parse_generate_log(a, "a"), parse_generate_log(b, "b"), strict=True)
    for (a,), (b,) in ((x.hypotheses, y.hypotheses) for x, y in pairs):
        assert a.tokens == b.tokens and a.score == pytest.approx(b.score, abs=tolerance)


@pytest.mark.slow
def test_alignments(translate, calibrate, checkpoints):
    file = calibrate((checkpoints[0], Temperature(1.0)))
    stock = translate(checkpoints[:1], "--print-alignment")
    found = translate(checkpoints[:1], *task("--calibration", file, "--print-alignment"))
    assert "A-0\t" in found and lines(found) == lines(stock)


@pytest.mark.slow
def test_sentence_confidence_follows_each_hypothesis(translate, calibrate, checkpoints):
    file = calibrate((checkpoints[0], Temperature(0.8)), sentence_confidence=CONFIDENCE)
    flags = task("--calibration", file, "--nbest", 2)
    plain = translate(checkpoints[:1], *flags)
    written = lines(translate(checkpoints[:1], *flags, "--sentence-confidence"), "STHDPC")
    assert [line for line in written if not line.startswith("C-")] == lines(plain)
    checked = 0
    for before, line in itertools.pairwise(written):
        if before.startswith("P-"):
            scores = [float(score) * math.log(2) for score in before.split("\t")[1].split()]
            z = 1.5 * sum(scores) / len(scores) + 0.25 * min(scores) - 0.5 * math.log(len(scores)) + 0.75
            identifier, value = line.split("\t")
            assert identifier == before.split("\t")[0].replace("P", "C")
            assert float(value) == pytest.approx(1 / (1 + math.exp(-z)), abs=2e-4)
            checked += 1
    assert checked == 24


def test_interactive(generate, calibrate, checkpoints, tiny_text):
    """Both commands print the same calibrated scores and C- lines."""
    file = calibrate((checkpoints[0], Temperature(0.8)), sentence_confidence=CONFIDENCE)
    # the default length limit depends on the longest sentence of a batch, and their batches differ
    flags = ours("--calibration", file, "--sentence-confidence", "--max-len-a", 0, "--max-len-b", 12)
    batch = generate(checkpoints[:1], *flags)
    flags += ["--input", tiny_text / "test.de", "--buffer-size", 12]
    found = generate(checkpoints[:1], *flags, command="fairseq-interactive")
    assert found.returncode == 0, found.stderr[-2000:]
    assert len(lines(found.stdout, "C")) == 12
    same_hypotheses(found.stdout, batch.stdout, 1e-4)
    confidence = [dict(line.split("\t") for line in lines(done.stdout, "C") if "\t" in line) for done in (found, batch)]
    assert confidence[0].keys() == confidence[1].keys()
    for name, value in confidence[0].items():
        assert float(value) == pytest.approx(float(confidence[1][name]), abs=2e-4)


@pytest.mark.slow
def test_ensemble_weights(translate, calibrate, checkpoints):
    """A weight near 1 leaves the one model; the order of the members in the file does not matter."""
    file = calibrate((checkpoints[1], Temperature(1.4)), (checkpoints[0], Temperature(0.7)))
    alone = translate(checkpoints[:1], *task("--calibration", file))
    weighted = translate(checkpoints, *task("--calibration", file, "--ensemble-weights", "1000000,0.001"))
    same_hypotheses(weighted, alone, 1e-4)
    with pytest.raises(UserError, match="--ensemble-weights: 1: 1 weights for 2"):
        translate(checkpoints, *task("--ensemble-weights", 1))


def test_a_foreign_calibration_ends_with_one_line(generate, calibrate, checkpoints):
    file = calibrate((checkpoints[0], Temperature(0.8)))
    refused(generate(checkpoints[1:], *ours("--calibration", file)), "was not fitted to .*--calibration-mismatch warn")


def test_what_does_not_belong_together_is_refused(translate, calibrate, checkpoints):
    file = calibrate((checkpoints[0], Temperature(0.8)))
    broken = file.with_name("broken.json")
    broken.write_text(file.read_text()[:100])
    damaged = calibrate((checkpoints[0], Temperature(0.8)), name="d.json", sentence_confidence={"features": []})
    for flags, message in [
        (["--calibration", file, "--temperature", 2], "--temperature 2.0: not together with --calibration"),
        (["--sentence-confidence"], "--sentence-confidence: needs --calibration"),
        (["--sentence-confidence", "--calibration", file], "has no sentence confidence"),
        (["--sentence-confidence", "--calibration", file, "--constraints"], "not together with --constraints"),
        (["--sentence-confidence", "--calibration", damaged], r"d\.json: broken sentence confidence"),
        (["--calibration", broken], r"broken\.json: not a calibration file"),
        (["--calibration", "nowhere.json"], r"nowhere\.json: No such file"),
    ]:
        with pytest.raises(UserError, match=message):
            translate(checkpoints[:1], *task(*flags))


@pytest.mark.slow
def test_mismatch_warn(translate, calibrate, checkpoints, caplog):
    file = calibrate((checkpoints[0], Temperature(1.7)))
    found = translate(checkpoints[1:], *task("--calibration", file, "--calibration-mismatch", "warn"))
    assert "was not fitted to" in caplog.text
    same_hypotheses(found, translate(checkpoints[1:], "--temperature", 1.7), 1e-5)


@pytest.fixture
def broken_checkpoint(checkpoints, tmp_path):
    """A checkpoint with a NaN in its output projection (and embedding, which it is)."""
    state = load_safely(checkpoints[0])
    name = "decoder.output_projection.weight"
    state["model"][name] = state["model"][name].clone()
    state["model"][name][9, 0] = math.nan
    torch.save(state, tmp_path / "nan.pt")
    return tmp_path / "nan.pt"


def test_nan_logits_name_the_sentences(generate, broken_checkpoint, tiny_text):
    done = generate([broken_checkpoint], *ours())
    refused(done, r"nan\.pt: NaN or infinite logits in the batch of sentences \d+(, \d+){4}: ")
    flags = ours("--input", tiny_text / "test.de", "--buffer-size", 12)
    done = generate([broken_checkpoint], *flags, command="fairseq-interactive")
    refused(done, r"nan\.pt: NaN or infinite logits in the batch of sentences \['d\d+ ")


@pytest.mark.slow
def test_two_vocabularies_in_an_ensemble(generate, checkpoints, train_small, tiny_text, tmp_path, run_cli):
    prefixes = [word for split in ("train", "valid") for word in (f"--{split}pref", tiny_text / split)]
    flags = ["-s", "de", "-t", "en", *prefixes, "--destdir", tmp_path / "bin", "--joined-dictionary", "--nwordssrc", 30]
    assert run_cli("fairseq-preprocess", *flags).returncode == 0
    other = train_small(tmp_path / "bin", tmp_path / "other", "--max-update", 1)
    for flags in (ours(), []):
        refused(generate([checkpoints[0], other], *flags), r"other/.*: its vocabulary \(\d+ types\) is not that of")


def ends_at_once(dictionary):
    """A calibrator that leaves no more than one token of each translation, and so no BLEU."""
    return Grouped(torch.ones(1), torch.zeros(len(dictionary), dtype=torch.long), dictionary.eos(), 50.0)


EVAL_BLEU = ["--eval-bleu", "--eval-bleu-args", '{"beam": 4, "max_len_b": 10}', "--eval-bleu-detok", "space"]


@pytest.mark.slow
def test_bleu_of_validation_while_training(
    dictionary, train_flags, run_cli, tiny_bin, checkpoints, calibrate, tmp_path
):
    """--eval-bleu decodes with the calibrator, and the loss stays that of the model."""
    file = calibrate((checkpoints[0], ends_at_once(dictionary)))
    flags = [
        tiny_bin,
        *train_flags,
        *EVAL_BLEU,
        "--finetune-from-model",
        checkpoints[0],
        "--lr",
        1e-9,
        "--max-update",
        1,
    ]
    flags += ["--log-format", "json", "--user-dir", USER_DIR]
    strict = run_cli("fairseq-train", *flags, "--save-dir", tmp_path / "s", *ours("--calibration", file)[2:])
    refused(strict, "a model in training is another one .*--calibration-mismatch warn")
    tasks = {"stock": ["--task", "translation"], "warn": ours("--calibration", file, "--calibration-mismatch", "warn")}
    logs = {}
    for name, task in tasks.items():
        done = run_cli("fairseq-train", *flags, "--save-dir", tmp_path / name, *task)
        assert done.returncode == 0, done.stderr[-2000:]
        logs[name] = json.loads(re.search(r"valid \| (\{.*\})", done.stdout + done.stderr)[1])
    assert logs["warn"]["valid_loss"] == logs["stock"]["valid_loss"]
    assert float(logs["warn"]["valid_bleu"]) == 0 < float(logs["stock"]["valid_bleu"])


@pytest.mark.slow
def test_bleu_of_fairseq_validate(dictionary, run_cli, tiny_bin, checkpoints, calibrate):
    """fairseq-validate takes the task from the checkpoint; --model-overrides names ours."""
    bleu = {}
    for calibrator in (Temperature(1.0), ends_at_once(dictionary)):
        overrides = {
            "_name": "calibrated_translation",
            "calibration": str(calibrate((checkpoints[0], calibrator))),
            "eval_bleu": True, "eval_bleu_args": '{"beam": 4, "max_len_b": 10}', "eval_bleu_detok": "space",
        }  # fmt: skip
        flags = ["--path", checkpoints[0], "--user-dir", USER_DIR, "--batch-size", 5, "--cpu", "--log-format", "json"]
        flags += [*task(), "--model-overrides", {"task": overrides}]
        done = run_cli("fairseq-validate", tiny_bin, *flags)
        assert done.returncode == 0, done.stderr[-2000:]
        bleu[type(calibrator)] = float(re.findall(r'"valid_bleu": "([\d.]+)"', done.stdout + done.stderr)[-1])
    assert bleu[Grouped] == 0 < bleu[Temperature]


def multilingual(run_cli, train_flags, tiny_bin, folder, task, arch, *flags):
    data = shutil.copytree(tiny_bin, folder / "bin")
    train = [data, "--user-dir", USER_DIR, "--task", task, "--lang-pairs", "de-en", *flags]
    shape = [word for word in train_flags if word != "--share-all-embeddings"]
    shape[1] = arch
    done = run_cli("fairseq-train", *train, *shape, "--save-dir", folder / "m", "--seed", 1)
    assert done.returncode == 0, done.stderr[-3000:]
    return data, folder / "m" / "checkpoint_last.pt"


@pytest.mark.slow
@pytest.mark.parametrize(
    "task, arch, flags",
    [
        ("multilingual_translation", "multilingual_transformer", []),
        ("translation_multi_simple_epoch", "transformer", ["--langs", "de,en", "--decoder-langtok"]),
    ],
)
def test_multilingual_tasks(run_cli, train_flags, tiny_bin, tmp_path, task, arch, flags):
    """T = 1 gives fairseq's bytes, another T the scores of --temperature; a file for the direction."""
    from fairseq.data import Dictionary

    from labo_fairseq.calibration.file import Calibration, Member, dictionary_record, save
    from labo_fairseq.files import sha256

    data, checkpoint = multilingual(run_cli, train_flags, tiny_bin, tmp_path, task, arch, *flags)
    dictionary = Dictionary.load(str(data / "dict.en.txt"))
    if flags:  # fairseq adds the language tokens to the dictionary when it is loaded
        for language in ("de", "en"):
            dictionary.add_symbol(f"__{language}__")
    for temperature in (1.0, 1.7):
        member = Member("m", sha256(checkpoint), Temperature(temperature))
        save(Calibration([member], dictionary_record(dictionary), {}), tmp_path / f"{temperature}.json")

    def generate(task, *more):
        args = [data, "--path", checkpoint, "-s", "de", "-t", "en", "--lang-pairs", "de-en", *flags, *SEARCH, *more]
        done = run_cli("fairseq-generate", *args, "--user-dir", USER_DIR, "--task", task)
        assert done.returncode == 0, done.stderr[-3000:]
        return done.stdout

    found = generate(f"calibrated_{task}", "--calibration", tmp_path / "1.0.json")
    assert len(lines(found)) > 60 and lines(found) == lines(generate(task))
    found = generate(f"calibrated_{task}", "--calibration", f"en-de=other.json,de-en={tmp_path / '1.7.json'}")
    assert lines(found, "H") == lines(generate(task, "--temperature", 1.7), "H")
