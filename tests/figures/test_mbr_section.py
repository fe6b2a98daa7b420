"""The report's section about minimum-Bayes-risk decoding, from files that `labo mbr` wrote."""

import csv

import pytest
from _analysis import entry, write

from labo_fairseq.cli import main
from labo_fairseq.figures import mbr_section
from labo_fairseq.records.mbr import read_mbr

pytest.importorskip("matplotlib", reason="the report needs matplotlib")
# three candidates each: the first two agree, the third is the most probable one
TEXTS = [("ein hund läuft", "ein hund läuft da", "katze"), ("der mann singt", "der mann singt laut", "ball")]


def n_best(i, texts):
    """S-, T-, H-, D- and P- lines of one sentence, the last text first."""
    lines = [f"S-{i}\tsource {i}", f"T-{i}\t{texts[0]}"]
    for text, score in zip(reversed(texts), (-0.1, -1.0, -1.2), strict=True):
        words = text.split()
        lines += [f"H-{i}\t{score}\t{text}", f"D-{i}\t{score}\t{text}"]
        lines += [f"P-{i}\t" + " ".join([str(score)] * (len(words) + 1))]
    return "".join(f"{line}\n" for line in lines)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder with the log of candidates, its choices as TSV and as JSON, and a fit."""
    folder = tmp_path_factory.mktemp("mbr")
    write(folder / "log", "".join(n_best(i, texts) for i, texts in enumerate(TEXTS)))
    log = str(folder / "log")
    assert main(["mbr", log, "--report", str(folder / "mbr.tsv")]) == 0
    assert main(["mbr", log, "--report", str(folder / "model.json"), "--json", "--weights", "model"]) == 0
    assert main(["mbr", log, "--fit-temperature", str(folder / "mbr.json")]) == 0
    return folder


def rows_of(path):
    with open(path, encoding="utf-8") as stream:
        return list(csv.DictReader((line for line in stream if not line.startswith("#")), delimiter="\t"))


def test_fit_and_choices_are_shown(files, tmp_path, capsys):
    system = write(tmp_path / "out.txt", entry(0, "a b", "a b") + entry(1, "c d", "c d"))
    flags = [f"--mbr=chrF={files / 'mbr.json'}", f"--mbr=uniform={files / 'mbr.tsv'}"]
    flags += [f"--mbr=model={files / 'model.json'}"]
    assert main(["report", "--system", f"x={system}", *flags, "--out", str(tmp_path / "report")]) == 0
    page = (tmp_path / "report/report.html").read_text(encoding="utf-8")
    assert "Minimum Bayes risk" in page and "Ranks of the choices" in page and "Choices by weights" in page
    choices = {row["system"]: row for row in rows_of(tmp_path / "report/mbr_choices.tsv")}
    assert choices["uniform"]["sentences"] == "2" and choices["uniform"]["candidates"] == "3.0"
    # uniform weights take one of the two that agree; those of the model the most probable text, which is alone
    assert choices["uniform"]["most probable chosen"] == "0.0%"
    assert choices["model"]["most probable chosen"] == "100.0%"
    fit = rows_of(tmp_path / "report/mbr_fit_1.tsv")
    assert [row["weights"] for row in fit if row["chosen"]] == [f"{read_mbr(files / 'mbr.json').temperature:.4g}"]
    assert len(fit) == len(read_mbr(files / "mbr.json").rows)


def test_ranks_add_up(files):
    rows = read_mbr(files / "mbr.tsv")
    ranks = [row["rank"] for row in rows]
    (axes,) = mbr_section.ranks([("a", rows), ("a", rows)]).axes
    first, second = (container[0] for container in axes.containers)
    assert list(first.get_xdata()) == sorted(set(ranks)) and list(second.get_xdata()) == sorted(set(ranks))
    expected = [100 * sum(rank <= k for rank in ranks) / len(ranks) for k in sorted(set(ranks))]
    assert list(first.get_ydata()) == pytest.approx(expected) and expected[-1] == 100
    assert {container.get_label() for container in axes.containers} == {"a", "a (2)"}


def test_no_files_no_section(tmp_path):
    assert mbr_section.section([], str(tmp_path)) is None and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "value, message",
    [("x", "--mbr: x: no name or no path"), ("x=nowhere", "nowhere: "), ("x={log}", "no rows of id, candidates")],
)
def test_bad_files_are_one_line(files, tmp_path, capsys, value, message):
    system = write(tmp_path / "out.txt", entry(0, "a b", "a b"))
    out = tmp_path / "report"
    value = value.format(log=files / "log")
    assert main(["report", "--system", f"x={system}", "--mbr", value, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1 and not out.exists()
