"""Sections of the report about calibration and about decoding: what `labo calibrate` and sweeps have left in files."""

from ..analysis import confidence
from ..records.reliability import read_reliability
from ..records.sweeps import read_measures, read_sweep, read_tuning
from ..records.tables import TextTable, shown
from . import style, sweeps
from .page import Section, write_figure, write_table
from .reliability import reliability

# column of the table: (key of the measures, layout)
MEASURES = {
    "ECE": ("ece", ".4f"), "ECE low": ("ece_low", ".4f"), "ECE high": ("ece_high", ".4f"), "NLL": ("nll", ".4f"),
    "Brier": ("brier", ".4f"), "accuracy": ("accuracy", ".4f"), "mean confidence": ("confidence", ".4f"),
    "tokens": ("tokens", "d"),
}  # fmt: skip

RELIABILITY = (
    "Reliability: how often tokens of a given confidence are right, with 95% bars; below, how many tokens there are."
)
COVERAGE = "Coverage: BLEU if only the most confident sentences are answered."


def calibration(runs, translated, out):
    """Reliability diagrams and measures of `labo calibrate`, and BLEU of the most confident sentences; or None.

    runs: {name: records.run_files.RunFiles}; translated: what report.py has read, or None
    """
    folders = {name: run.calibration_folder for name, run in runs.items() if run.calibration_folder}
    figures, tables, texts = [], [], []
    for i, name in enumerate(runs, 1):
        bins = read_reliability(folders[name]) if name in folders else None
        if bins:
            texts = [RELIABILITY]
            figures.append(write_figure(reliability(bins, name), out, f"reliability_{i}", f"reliability of {name}"))
    measured = {name: read_measures(folder) for name, folder in folders.items()}
    if any(measured.values()):
        tables.append(write_table(_table_of_measures(measured), out, "calibration"))
    if translated:
        curves, table = _coverage(translated)
        if table:
            figures.append(write_figure(curves, out, "coverage", "BLEU of the most confident sentences"))
            tables.append(write_table(table, out, "coverage"))
            texts.append(COVERAGE)
    if not figures and not tables:
        return None
    return Section("Calibration", " ".join(texts), figures, tables)


def _table_of_measures(measured):
    rows = [["system", "tokens of", *MEASURES]]
    for name, sets in measured.items():
        for when, values in sets.items():
            rows.append([name, when, *(shown(values.get(key), layout) for key, layout in MEASURES.values())])
    signatures = [f"{n}, {w}: {v['signature']}" for n, sets in measured.items() for w, v in sets.items()]
    notes = ["NLL in nats; ECE low and high: 95% bootstrap interval over sentences; before and after calibration"]
    return TextTable("calibration of the next token, teacher-forced", rows, [*notes, *signatures])


def _coverage(translated):
    """(figure, TextTable) of BLEU by coverage; (None, None) where no system says how sure it is."""
    points = {
        name: confidence.most_confident(translated.metric, translated.counts[name], output.confidences)
        for name, output in translated.outputs.items()
        if None not in output.confidences
    }
    if not points:
        return None, None
    series = {name: [(100 * share, bleu, None) for share, _, _, bleu in rows] for name, rows in points.items()}
    heading = translated.metric.heading
    figure = style.lines(series, "most confident sentences (%)", heading, f"{heading} by coverage")
    fitted = [name for name in points if translated.systems[name].best()[0].confidence is not None]
    note = "confidence: " + (f"of {', '.join(fitted)} the C- line, else " if fitted else "")
    note += "the geometric mean of the probabilities of a translation's tokens"
    rows = [["share", "sentences", *points]]
    for same in zip(*points.values(), strict=True):
        share, sentences, _, _ = same[0]
        rows.append([f"{share:.0%}", str(sentences), *(f"{value:.2f}" for *_, value in same)])
    title = f"{heading} of the most confident sentences"
    return figure, TextTable(title, rows, [note, f"{heading}: {translated.metric.signature}"])


def decoding(runs, out):
    """What sweeps over temperature, beam and length penalty have shown; None where there are none."""
    figures, tables = [], []
    for i, (name, run) in enumerate(runs.items(), 1):
        for kind, draw in (("temperatures", sweeps.temperatures), ("beams", sweeps.beams)):
            rows = read_sweep(run.calibration_folder / f"{kind}.tsv") if run.calibration_folder else None
            if rows:
                title = f"{kind} of {name}"
                figures.append(write_figure(style.headed(draw(rows), name), out, f"sweep_{kind}_{i}", title))
                tables.append(write_table(_table_of_sweep(rows, title), out, f"sweep_{kind}_{i}"))
    tuned = {name: read_tuning(run.folder) for name, run in runs.items() if run.folder}
    tuned = {name: rows for name, rows in tuned.items() if rows}
    if tuned:
        tables.append(write_table(_table_of_tuning(tuned), out, "tuning"))
        series = {
            name + (f", calibrated: {kind}" if kind != "none" else ""): [
                (row["lenpen"], row["bleu"], None) for row in rows if row["calibrate"] == kind
            ]
            for name, rows in tuned.items()
            for kind in dict.fromkeys(row["calibrate"] for row in rows)
        }
        if any(len(points) > 1 for points in series.values()):
            figure = style.lines(series, "length penalty", "BLEU (valid)", "Length penalty on validation data")
            figures.append(write_figure(figure, out, "tuning", "BLEU by length penalty"))
    if not tables:
        return None
    text = "What decoding was tried, on validation data: temperature, beam size, length penalty."
    return Section("Decoding", text, figures, tables)


def _table_of_sweep(rows, title):
    names = [name for name in rows[0] if not name.endswith("signature")]
    cells = [[f"{row[n]:.4g}" if isinstance(row[n], float) else str(row[n]) for n in names] for row in rows]
    signatures = dict.fromkeys(value for row in rows for n, value in row.items() if n == "BLEU_signature")
    return TextTable(title, [names, *cells], list(signatures))


def _table_of_tuning(tuned):
    rows = [["system", "length penalty", "calibrated by", "BLEU (valid)", "chosen"]]
    for name, points in tuned.items():
        for row in points:
            cells = [f"{row['lenpen']:g}", row["calibrate"], f"{row['bleu']:.2f}", "yes" if row["chosen"] else ""]
            rows.append([name, *cells])
    return TextTable("length penalties tried", rows)
