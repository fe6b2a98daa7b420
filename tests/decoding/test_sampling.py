"""Epsilon sampling and min-p: never an unlikely type, the others as often as they should, by fairseq's commands too."""

import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from fairseq.search import BeamSearch, Sampling
from scipy.stats import chisquare

import labo_fairseq
from labo_fairseq.decoding.sampling import TruncatedSampling, truncated
from labo_fairseq.errors import UserError
from labo_fairseq.functional.calibrators import Temperature
from labo_fairseq.records.generate_log import parse_generate_log

PROBS = [0.4, 0.25, 0.15, 0.1, 0.05, 0.03, 0.02, 0.0]


class Words(SimpleNamespace):
    def __len__(self):
        return len(PROBS)


DICTIONARY = Words(pad=lambda: 1, unk=lambda: 3, eos=lambda: 2)


def kept(epsilon, min_p):
    """The types that may be drawn, one by one, and their probabilities then."""
    allowed = [p if p >= epsilon and p >= min_p * max(PROBS) else 0.0 for p in PROBS]
    if not any(allowed):
        allowed[0] = PROBS[0]  # the likeliest
    return np.array(allowed) / sum(allowed)


SETTINGS = [(0.0, 0.0), (0.07, 0.0), (0.12, 0.0), (0.0, 0.3), (0.04, 0.3), (0.2, 0.1), (0.9, 0.0), (0.0, 0.999)]


def drawn(epsilon, min_p, step, count=20000):
    torch.manual_seed(7)
    search = TruncatedSampling(DICTIONARY, epsilon, min_p)
    lprobs = torch.tensor(PROBS).log().expand(1, count, -1).clone()
    scores = torch.full((1, count, 1), -2.0) if step else None
    return search.step(step, lprobs, scores)


@pytest.mark.parametrize("step", [0, 1])
@pytest.mark.parametrize("epsilon, min_p", SETTINGS)
def test_types_come_as_often_as_they_should(epsilon, min_p, step):
    _, types, beams = drawn(epsilon, min_p, step)
    expected = kept(epsilon, min_p)
    counts = np.bincount(types[0], minlength=len(PROBS))
    assert not counts[expected == 0].any()
    possible = expected > 0
    assert possible.sum() == 1 or chisquare(counts[possible], expected[possible] * counts.sum()).pvalue > 1e-4
    assert beams.tolist() == ([[0] * 20000] if step == 0 else [list(range(20000))])


@pytest.mark.parametrize("step", [0, 1])
def test_scores_are_of_the_whole_distribution_and_add_up(step):
    scores, types, _ = drawn(0.1, 0.0, step)
    expected = torch.tensor(PROBS).log()[types] - (2.0 if step else 0.0)
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_without_a_threshold_it_is_fairseqs_sampling(step):
    """The same random numbers, draws and scores, of three sentences with four beams each."""
    torch.manual_seed(1)
    lprobs = torch.randn(3, 4, 8).log_softmax(-1)
    scores = torch.randn(3, 4, step)
    results = []
    for search in (Sampling(DICTIONARY), TruncatedSampling(DICTIONARY)):
        torch.manual_seed(2)
        results.append(search.step(step, lprobs.clone(), scores))
    for ours, theirs in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(ours, theirs)


def test_each_row_has_its_own_threshold():
    search = TruncatedSampling(DICTIONARY, 0.0, 0.5)
    probs = torch.tensor([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]])
    torch.testing.assert_close(search.threshold(probs), torch.tensor([[0.25], [0.45]]))


def test_ties_for_the_likeliest_all_stay():
    search = TruncatedSampling(DICTIONARY, 0.9)
    torch.manual_seed(1)
    _, types, _ = search.step(0, torch.full((1, 500, 4), 0.25).log(), None)
    assert set(types[0].tolist()) == {0, 1, 2, 3}


def test_where_only_the_end_is_left_it_is_drawn():
    """At the length limit fairseq leaves the end of the sentence alone, however unlikely."""
    lprobs = torch.full((2, 3, 8), -math.inf)
    lprobs[..., 2] = math.log(1e-6)
    _, types, _ = TruncatedSampling(DICTIONARY, 0.1, 0.5).step(1, lprobs, torch.zeros(2, 3, 1))
    assert types.tolist() == [[2] * 3] * 2


def test_without_flags_the_search_stays_what_it_is():
    search = BeamSearch(DICTIONARY)
    assert truncated(search, DICTIONARY, None, None) is search
    assert truncated(None, DICTIONARY, None, None) is None


@pytest.mark.parametrize(
    "search, epsilon, min_p, message",
    [
        (BeamSearch(DICTIONARY), 0.1, None, "--epsilon-sampling: .*add --sampling"),
        (BeamSearch(DICTIONARY), None, 0.1, "--min-p: .*add --sampling"),
        (None, 0.1, None, "--epsilon-sampling: .*add --sampling"),
        (Sampling(DICTIONARY, sampling_topk=5), 0.1, None, "--epsilon-sampling: not together with --sampling-topk"),
        (Sampling(DICTIONARY, sampling_topp=0.5), None, 0.1, "--min-p: not together with"),
        (Sampling(DICTIONARY), -0.1, None, "--epsilon-sampling: -0.1 is out of range"),
        (Sampling(DICTIONARY), 1.0, None, "--epsilon-sampling: 1.0 is out of range"),
        (Sampling(DICTIONARY), math.nan, None, "--epsilon-sampling: nan is out of range"),
        (Sampling(DICTIONARY), 0.1, 1.5, "--min-p: 1.5 is out of range"),
        (Sampling(DICTIONARY), None, math.inf, "--min-p: inf is out of range"),
    ],
)
def test_what_does_not_belong_together(search, epsilon, min_p, message):
    with pytest.raises(UserError, match=message):
        truncated(search, DICTIONARY, epsilon, min_p)


# --- by fairseq-generate's own functions, on a trained model ---


@pytest.fixture
def generate(tiny_bin, tmp_path):
    """Function: fairseq-generate on the test set in this process with these flags -> Sentences of its log."""
    import fairseq_cli.generate
    from fairseq import options

    labo_fairseq.register()

    def run(path, *flags):
        line = [tiny_bin, "-s", "de", "-t", "en", "--path", path, "--task", "calibrated_translation", "--cpu"]
        line += ["--max-len-a", 1.2, "--max-len-b", 5, "--results-path", tmp_path / "results", *flags]
        args = options.parse_args_and_arch(options.get_generation_parser(), list(map(str, line)))
        fairseq_cli.generate.main(args)
        return parse_generate_log((tmp_path / "results" / "generate-test.txt").read_text(encoding="utf-8"), "log")

    return run


SAMPLES = ["--sampling", "--beam", 20, "--nbest", 20]


def outputs(sentences):
    return [[(h.tokens, h.positional_scores) for h in sentence.hypotheses] for sentence in sentences]


@pytest.mark.slow
def test_the_seed_repeats_the_samples(generate, checkpoints):
    one, same, other = (
        outputs(generate(checkpoints[0], *SAMPLES, "--epsilon-sampling", 0.02, "--seed", seed)) for seed in (3, 3, 4)
    )
    assert one == same != other


@pytest.mark.slow
def test_min_p_near_1_is_greedy_search(generate, checkpoints):
    greedy = [sentence.hypotheses[0].tokens for sentence in generate(checkpoints[0], "--beam", 1)]
    for sentence, tokens in zip(generate(checkpoints[0], *SAMPLES, "--min-p", 0.9999), greedy, strict=True):
        assert {hypothesis.tokens for hypothesis in sentence.hypotheses} == {tokens}


def first_types(checkpoint, tiny_bin, dictionary, temperature):
    """Calibrated probabilities of the first type of the test set's sentence 0, straight from the model."""
    from fairseq import checkpoint_utils
    from fairseq.data import data_utils

    (model,), _ = checkpoint_utils.load_model_ensemble([str(checkpoint)], {"data": str(tiny_bin)})
    source = data_utils.load_indexed_dataset(str(tiny_bin / "test.de-en.de"))[0].long().unsqueeze(0)
    previous = torch.tensor([[dictionary.eos()]])
    with torch.no_grad():
        logits = model.eval()(source, torch.tensor([source.size(1)]), previous)[0][0, 0]
    probs = (logits / temperature).softmax(-1)
    probs[dictionary.pad()] = 0  # which fairseq never generates
    return probs.numpy().astype(float)


@pytest.mark.parametrize(
    "flag, value", [("--epsilon-sampling", 0.03), pytest.param("--min-p", 0.2, marks=pytest.mark.slow)]
)
def test_calibrated_probabilities_are_cut(generate, calibrate, checkpoints, tiny_bin, dictionary, flag, value):
    """The first types of 2,000 samples have the frequencies of softmax(z/T), cut and renormalized."""
    temperature = 2.5
    file = calibrate((checkpoints[0], Temperature(temperature)))
    probs = first_types(checkpoints[0], tiny_bin, dictionary, temperature)
    least = value if flag == "--epsilon-sampling" else value * probs.max()
    expected = np.where(probs >= least, probs, 0)
    uncalibrated = first_types(checkpoints[0], tiny_bin, dictionary, 1.0)
    other = value if flag == "--epsilon-sampling" else value * uncalibrated.max()
    assert (expected > 0).sum() > 2 and ((expected > 0) != (uncalibrated >= other)).any()  # else it would show nothing
    flags = ["--sampling", "--beam", 2000, "--nbest", 2000, "--batch-size", 1, "--calibration", file, flag, value]
    first, *_ = generate(checkpoints[0], *flags)
    types = [dictionary.index(h.tokens[0]) if h.tokens else dictionary.eos() for h in first.hypotheses]
    counts = np.bincount(types, minlength=len(dictionary))
    assert not counts[expected == 0].any()
    possible = expected > 0
    frequencies = expected[possible] / expected.sum() * counts.sum()
    assert chisquare(counts[possible], frequencies).pvalue > 1e-4
    for hypothesis, k in zip(first.hypotheses, types, strict=True):  # scores: of the whole calibrated distribution
        assert hypothesis.positional_scores[0] == pytest.approx(math.log2(probs[k]), abs=1e-3)


def test_a_clear_line_by_the_command(run_cli, tiny_bin, checkpoints):
    flags = ["--user-dir", Path(labo_fairseq.__file__).parent, "--task", "calibrated_translation", "--cpu"]
    line = [tiny_bin, "-s", "de", "-t", "en", "--path", checkpoints[0], *flags]
    done = run_cli("fairseq-generate", *line, "--epsilon-sampling", 0.02)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert "--epsilon-sampling: is a way to draw samples: add --sampling" in done.stderr.splitlines()[-1]
