"""Figures by what they show: how many panels, which labels, as many lines as systems, the numbers in the lines."""

from types import SimpleNamespace

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="figures need matplotlib")

from labo_fairseq.analysis.confidence import histograms
from labo_fairseq.analysis.splits import Part
from labo_fairseq.analysis.words import FREQUENCIES, Matches
from labo_fairseq.errors import UserError
from labo_fairseq.figures import images, inside, noise, noise_comparison, reliability, style, sweeps, translation
from labo_fairseq.inside.penultimate import Projection
from labo_fairseq.measures.calibration import bin_sums
from labo_fairseq.measures.calibration import reliability as bins_of
from labo_fairseq.measures.significance import Significance
from labo_fairseq.records.train_log import TrainLog, TrainPoint, ValidPoint


def legend(figure):
    """Texts of all legends of a figure, in its panels and below them."""
    boxes = [axes.get_legend() for axes in figure.axes] + list(figure.legends)
    return [text.get_text() for box in boxes if box for text in box.get_texts()]


def data(line):
    return [list(line.get_xdata()), list(line.get_ydata())]


def curves(axes):
    """The lines of a panel that have a name."""
    return {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}


def test_lines_have_their_names_numbers_and_levels():
    figure = style.lines(
        {"b": [(2, 5, None), (1, 4, None)], "_a$": [(1, 3, None)]}, "T", "BLEU", "Title", levels=[(4.5, "here")]
    )
    (axes,) = figure.axes
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_title(loc="left")) == ("T", "BLEU", "Title")
    assert legend(figure) == ["b", r" _a\$"]  # neither a formula nor hidden
    assert data(axes.lines[0]) == [[1, 2], [4, 5]]  # sorted
    assert [text.get_text() for text in axes.texts] == ["here"]
    looks = {(line.get_color(), line.get_linestyle()) for line in axes.lines[:2]}
    assert len(looks) == 2


def test_no_two_of_32_lines_look_alike():
    assert len({tuple(style.look(i).values()) for i in range(32)}) == 32


def test_training_curves_show_validation_in_bits():
    valid = [ValidPoint(update, 9.0, bits, None, None) for update, bits in ((100, 5.0), (200, 4.0))]
    train = [TrainPoint(update, 9.0, bits, None, None, None) for update, bits in ((50, 7.0), (150, 5.5))]
    logs = {name: TrainLog(train, valid, 200, 0, 0.0, {}, None, True) for name in ("one", "two")}
    figure = translation.training_curves(logs)
    (axes,) = figure.axes
    assert legend(figure) == ["one", "two"] and len(axes.lines) == 4  # a thin line of training for each
    assert data(curves(axes)["one"]) == [[100, 200], [5.0, 4.0]]
    assert axes.get_xlabel() == "update" and "bits" in axes.get_ylabel()


def test_learning_curves_show_nll_and_bleu_with_deviations():
    nll = {"ls": [(1000, 4.0, 0.1), (2000, 3.0, 0.2)], "_labo": [(1000, 5.0, None), (2000, 3.5, None)]}
    scores = {"_labo": [(2000, 31.0, None)], "mle": [(1000, 30.0, None)]}
    figure = translation.learning_curves(nll, scores, "Title")
    above, below = figure.axes
    assert (above.get_ylabel(), below.get_ylabel(), below.get_xlabel()) == ("nll (bits/token)", "BLEU", "updates")
    assert above.get_title(loc="left") == "Title"
    assert next(data(line) for line in above.lines if len(line.get_xdata()) == 2) == [[1000, 2000], [4.0, 3.0]]
    assert legend(figure) == ["ls", " _labo", "mle"]  # mle, though only BLEU was measured of it
    (bars,) = [c for c in above.collections if len(c.get_segments()) == 2]
    assert [segment[:, 1].tolist() for segment in bars.get_segments()] == [[3.9, 4.1], [2.8, 3.2]]
    # a method has one colour in both panels
    assert {line.get_color() for line in below.lines if len(line.get_xdata())} == set(style.COLOURS[1:3])


def test_comparisons_with_the_theory_are_drawn_for_each_type(tmp_path, monkeypatch, capsys):
    drawn = {}
    monkeypatch.setattr(style, "save", lambda figure, path: drawn.update({path.name: figure}))
    compared = [
        SimpleNamespace(type="alpha", clean_rate=a, p=p, classes=10, predicted=a + p, fitted=a, held_out=p,
                        averaging=1.0, accuracy=a * p, best_accuracy=None)
        for a in (0.6, 0.8) for p in (0.5, 0.9)
    ]  # fmt: skip
    noise_comparison.draw(compared, tmp_path, lambda kind, masses, rate, classes: masses)
    names = ("accuracy", "curves", "errors", "landscape", "optima", "slices")
    assert sorted(drawn) == [f"{name}_alpha.png" for name in names]
    panels = drawn["slices_alpha.png"].axes
    assert [axes.get_title(loc="left") for axes in panels] == [f"α type, clean rate {a}" for a in (0.6, 0.8)]
    assert data(curves(panels[0])["held-out images"]) == [[0.5, 0.9], [0.5, 0.9]]
    (axes,) = drawn["errors_alpha.png"].axes
    assert legend(drawn["errors_alpha.png"]) == ["a = 0.6", "a = 0.8"] and axes.get_ylabel() == "error (%)"
    assert data(axes.lines[0])[1] == pytest.approx([70, 46])  # 100 - 100·0.6·p
    titles = [axes.get_title(loc="left") for axes in drawn["accuracy_alpha.png"].axes]
    assert "accuracy (+: highest)" in titles and not any("best epoch" in title for title in titles)
    noise_comparison.draw(compared[:1], tmp_path, lambda kind, masses, rate, classes: masses)
    assert "one clean rate or p alone" in capsys.readouterr().err


def test_scores_of_splits_are_bars_with_intervals():
    tests = [Significance(interval=0.5), Significance(interval=0.7)]
    parts = [Part(name, (0,), [30.0 + i, 31.0 + i], tests) for i, name in enumerate(("all", "most"))]
    figure = translation.split_scores(parts, ["ls", "labo"], "BLEU")
    (axes,) = figure.axes
    assert [bar.get_height() for bar in axes.patches] == [30, 31, 31, 32]  # system by system
    assert [label.get_text() for label in axes.get_xticklabels()] == ["all", "most"]
    assert legend(figure) == ["ls", "labo"] and axes.get_ylabel() == "BLEU"


def test_word_f1_is_in_percent_and_leaves_empty_buckets_out():
    matches = [Matches(2, 2, 1)] + [Matches()] * (len(FREQUENCIES) - 1)
    figure = translation.word_f1({"labo": matches})
    (axes,) = figure.axes
    assert data(curves(axes)["labo"]) == [[0], [50.0]]
    assert len(axes.get_xticks()) == len(FREQUENCIES)


def test_confidence_histograms_have_a_panel_for_each_system():
    probabilities = {name: [np.array([0.12, 0.97])] for name in ("ls", "labo")}
    figure = translation.confidence_histograms(histograms(probabilities))
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ls", "labo"]
    (stairs,) = figure.axes[0].patches
    values, edges, _ = stairs.get_data()
    assert values.sum() == pytest.approx(100) and values[2] == values[19] == 50 and len(edges) == 21


def test_reliability_has_a_line_for_each_state_and_the_diagonal():
    rows = bins_of(bin_sums(np.array([0.1, 0.9, 0.9]), np.array([False, True, False])))
    bins = [{"when": when, **row} for when in ("before", "after") for row in rows]
    figure = reliability.reliability(bins, "labo")
    above, below = figure.axes
    # |0.5 − 0.9|·2/3 + 0.1/3
    assert legend(figure) == ["perfectly calibrated", *(f"{w} calibration (ECE 0.300)" for w in ("before", "after"))]
    lines = [line for line in above.lines if len(line.get_xdata()) == 2][1:]
    assert all(np.allclose(data(line), [[0.1, 0.9], [0, 0.5]]) for line in lines[:1])
    assert len(below.patches) == 2 and below.get_ylabel() == "tokens"
    assert "labo" in above.get_title(loc="left")


def test_figures_of_images_name_what_they_show():
    counts = {"ls": (np.array([1, 3]), np.array([1, 0]))}
    figure = images.softmax_histograms(counts, np.array([0, 0.5, 1]), "sign")
    right, wrong = (patch.get_data().values for patch in figure.axes[0].patches)
    assert right.tolist() == [20, 60] and wrong.tolist() == [20, 0]
    assert figure.get_supxlabel() == "sign" and legend(figure) == ["right", "wrong"]
    curve = {"ls": (np.array([0.5, 1]), np.array([0.0, 0.25]))}
    figure = images.risk_coverage(curve, "sign")
    assert legend(figure) == ["ls (area 12.50%)"] and data(figure.axes[0].lines[0]) == [[50, 100], [0, 25]]
    figure = images.confusion(np.array([[3, 1], [0, 4]]), ("cat", "dog"), "ls", "sign")
    assert [text.get_text() for text in figure.axes[0].texts] == ["75", "25", "100"]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["cat", "dog"]
    figure = images.errors_by_weight({0.3: [10.0, 12.0], 0.5: [9.0]})
    assert data(figure.axes[0].lines[0]) == [[0.3, 0.5], [11.0, 9.0]]
    figure = images.target_mass({"pls": {"target_true_1": 0.4, "target_other_1": 0.1}})
    assert [bar.get_height() for bar in figure.axes[0].patches] == [0.4, 0.1]
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["true 1", "other 1"]


def test_figures_of_epochs_have_a_line_for_each_system():
    epochs = [{"epoch": e, "loss": 3.0 - e, "error": 9.0 - e, "ece": 0.1 * e, "ece_scaled": 0.05} for e in (1, 2)]
    logs = {"ls": epochs, "labo": epochs[:1]}
    figure = images.training(logs)
    assert [len(axes.lines) for axes in figure.axes] == [2, 2] and legend(figure) == ["ls", "labo"]
    assert data(figure.axes[0].lines[0]) == [[1, 2], [2, 1]] and "bits" in figure.axes[0].get_ylabel()
    figure = images.ece_by_epoch(logs)
    assert data(figure.axes[0].lines[0])[1] == pytest.approx([0.1, 0.2])
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["ECE, validation", "ECE after scaling, validation"]


def test_errors_of_bins_are_distances():
    rows = [{"when": "before", **row} for row in bins_of(bin_sums(np.array([0.9, 0.9]), np.array([True, False])))]
    figure = images.bin_errors(rows, "ls", "sign")
    axes, right = figure.axes
    assert sum(bar.get_height() for bar in axes.patches) == 2
    assert right.lines[0].get_ydata() == pytest.approx([0.4])


def test_penultimate_has_a_panel_for_each_system_and_subset():
    points = np.arange(12.0).reshape(6, 2)
    one = Projection(points, np.array([0, 0, 1, 1, 2, 2]), np.eye(3)[:, :2], {"tightness": 0.25})
    figure = inside.penultimate({name: {"train": [one], "valid": [one]} for name in ("ls", "labo")}, ["a", "b", "c"])
    titles = [axes.get_title(loc="left") for axes in figure.axes]
    assert titles == [f"{name}\n{subset}" for name in ("ls", "labo") for subset in ("train", "valid")]
    assert legend(figure) == ["a", "b", "c", "template"]
    assert figure.axes[0].collections[0].get_offsets().tolist() == [[0, 1], [2, 3]]
    assert figure.axes[0].get_xlabel() == "tightness 0.25"


def test_targets_are_bars_with_their_numbers():
    rows = {"dog": {"model": 0.7, "LABO": 0.6}, "cat": {"model": 0.2, "LABO": 0.3}}
    figure = inside.targets(rows, "a [dog]")
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["model", "LABO"]
    assert [bar.get_width() for bar in figure.axes[1].patches] == [0.6, 0.3]
    assert [text.get_text() for text in figure.axes[0].texts] == ["0.7", "0.2"]
    assert figure.get_suptitle() == "a [dog]"


def test_padding_names_the_lowest_error():
    rows = [{"counted": way, "T": t, "ece": abs(t - best) / 10} for way, best in (("a", 1), ("b", 2)) for t in (1, 2)]
    bins = [{"counted": way, "confidence": 0.5, "accuracy": 0.4, "places": 7} for way in ("a", "b")]
    figure = inside.padding(rows, bins)
    assert {"a (7 places)", "b (7 places)", "a: lowest 0.000 at T = 1", "b: lowest 0.000 at T = 2"} == set(
        legend(figure)
    )


def test_figures_of_noise_have_a_panel_for_each_type():
    rates, masses = np.array([0.5, 1.0]), np.array([0.2, 0.6, 0.9])
    losses = {kind: np.array([[1.0, 2.0], [2.0, 1.0], [3.0, np.inf]]) for kind in ("alpha", "beta")}
    figure = noise.landscapes(rates, masses, losses, dict.fromkeys(losses, rates), 10)
    panels = [axes for axes in figure.axes if axes.get_ylabel() == "p on the label"]
    assert [axes.get_title(loc="left")[:6] for axes in panels] == ["α type", "β type"]
    assert data(panels[0].lines[0]) == [[0.5, 1.0], [0.5, 1.0]]
    figure = noise.heatmaps(
        rates, masses, {"loss": (losses["alpha"], "lowest"), "accuracy": (losses["alpha"], "highest")}
    )
    panels = [axes for axes in figure.axes if axes.get_ylabel() == "p on the label"]
    assert [tuple(map(float, (line.get_xdata()[0], line.get_ydata()[0]))) for line in panels[0].lines] == [
        (0.5, 0.2),
        (1, 0.6),
    ]
    figure = noise.slices({0.8: (masses, masses)}, {0.8: {"held out": [(0.5, 1.0)]}}, "α type")
    assert (
        legend(figure) == ["predicted", "held out"] and figure.axes[0].get_title(loc="left") == "α type, clean rate 0.8"
    )
    figure = noise.optima(rates, {"any": rates}, "Best")
    assert legend(figure) == ["any"] and data(figure.axes[0].lines[0]) == [[0.5, 1.0], [0.5, 1.0]]


def test_sweeps_show_every_measure():
    rows = [{"T": t, "BLEU": 30 + t, "ece": t / 10, "nll": t} for t in (1, 2)]
    figure = sweeps.temperatures(rows)
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["BLEU", "ECE", "NLL (nats)"]
    assert data(figure.axes[1].lines[0]) == [[1, 2], [0.1, 0.2]]
    rows = [{"beam": b, "calibrated": c, "BLEU": b, "length_ratio": 1.0} for b in (1, 5) for c in ("no", "yes")]
    figure = sweeps.beams(rows)
    assert legend(figure) == ["calibrated: no", "calibrated: yes"]
    assert [data(line) for line in figure.axes[0].lines] == [[[1, 5], [1, 5]]] * 2


@pytest.mark.parametrize("name", ["figure.bmp", "figure", "figure.png.exe"])
def test_a_file_of_an_unknown_kind_is_refused(name, tmp_path):
    with pytest.raises(UserError, match=r"must end in \.png, \.pdf or \.svg"):
        style.save(style.new_figure(1, 2)[0], tmp_path / name)


def test_without_matplotlib_a_warning_says_what_is_missing(monkeypatch, tmp_path, caplog):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    style.save_or_warn(lambda: pytest.fail("drawn"), tmp_path / "f.png")
    assert "f.png is not drawn: install matplotlib" in caplog.text and not (tmp_path / "f.png").exists()
