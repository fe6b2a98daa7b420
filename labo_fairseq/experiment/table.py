"""The tables of an experiment, by the code behind `labo score`, `labo splits`, `labo table` and `labo report`."""

import io
import subprocess
import sys
from pathlib import Path

from ..analysis import classification, systems
from ..analysis.references import of_lines
from ..analysis.runs import COLUMNS, notes, read_run
from ..analysis.score import score_table
from ..analysis.tokenization import chosen
from ..files import write_aside
from ..measures import significance
from ..records.run_folder import corpus_at
from ..records.tables import TextTable, cell, shown
from . import cells
from .schedule import chosen_point, test_score, valid_score
from .spec import slug


def write_tables(experiment, found, out, report=True):
    """Write OUT/DIRECTION/*.tsv and *.md, the plots and the report; returns [TextTable] of the scores.

    found: pairs of (Cell, status). Below they are pairs of (Part, its scores in the status).
    """
    out, tables = Path(out), []
    for direction in experiment.directions:
        mine = [(c, s) for c, s in found if direction in c.directions]
        groups = {m: _parts(direction, group) for m, group in _groups(experiment, mine).items()}
        pairs = _parts(direction, mine)
        folder = out / "-".join(direction)
        folder.mkdir(parents=True, exist_ok=True)
        made = [(_accuracies if experiment.images else _scores)(experiment, direction, groups, out)]
        made += [_splits(experiment, direction, subset, groups, out) for subset, _ in experiment.decode.splits]
        made.append(_runs(pairs, out))
        for table, name in zip(
            made, ["table", *(f"splits-{s}" for s, _ in experiment.decode.splits), "runs"], strict=True
        ):
            _write(folder / name, table)
        _sensitivity(experiment, groups, folder)
        if report:
            _report(experiment, groups, folder, out)
        tables += made
    return tables


def as_markdown(table):
    """A TextTable in Markdown, its notes as a list."""
    heading, *rows = [[cell(text).replace("|", "\\|") for text in row] for row in table.rows]
    lines = [heading, ["---", *["--:"] * (len(heading) - 1)], *rows]
    body = [f"| {' | '.join(line)} |" for line in lines]
    return "\n".join([f"**{table.title}**", "", *body, "", *(f"- {cell(note)}" for note in table.notes)])


def table_of_status(found):
    """One row per cell."""
    measure = found[0][0].experiment.measure if found else "BLEU"
    rows = [["cell", "state", "step", "hours", f"{measure} valid", f"{measure} test", "message"]]
    for one, status in found:
        scores = [part.scores(status) for part in one.parts]
        columns = [[score(one.experiment, s) for s in scores] for score in (valid_score, test_score)]
        hours = status["seconds"] / 3600 if "seconds" in status else None
        numbers = [shown(hours, ".2f"), *("/".join(shown(score, ".2f") for score in column) for column in columns)]
        rows.append([one.name, status["state"], status.get("step") or "–", *numbers, status.get("message") or "–"])
    return TextTable("cells", rows)


def _parts(direction, pairs):
    """[(Part, status with the scores of this direction)] of pairs of (Cell, status)."""
    found = []
    for one, status in pairs:
        part = next(part for part in one.parts if part.direction == direction)
        found.append((part, {**status, **part.scores(status)}))
    return found


def _groups(experiment, pairs):
    """{method: [(Cell, status)]}, the baseline first; of a grid only the chosen point (all while none is chosen)."""
    methods = sorted(experiment.methods, key=lambda m: m.name != experiment.baseline)
    groups = {}
    for method in methods:
        mine = [(c, s) for c, s in pairs if c.method is method]
        point = chosen_point(mine, mine[0][0].directions, method) if method.grid and mine else {}
        if point is None:  # nothing is chosen yet, so no candidate may stand for the method
            groups[method] = [(c, {**s, "state": "candidate"} if s["state"] == "done" else s) for c, s in mine]
        else:
            groups[method] = [(c, s) for c, s in mine if c.grid == point]
    return groups


def _done(group):
    return [(c, s) for c, s in group if s["state"] == "done"]


def _scores(experiment, direction, groups, out):
    """Mean, deviation, difference and p-value of each method; a method without a finished cell has a row too."""
    seeds, done = len(experiment.seeds), {m: _done(group) for m, group in groups.items()}
    read = {
        method.name: [systems.read_system(c.name, str(out / c.name / "generate-test.txt")) for c, _ in group]
        for method, group in done.items()
        if group
    }
    columns, bottom = {}, []
    # without the baseline there is nothing to differ from: the first finished method must not take its place silently
    if experiment.baseline in read:
        columns, bottom = _scored(read, _corpus(next(p for g in done.values() for p, _ in g), out))
    rows = [["method", "cells", *columns, "BLEU valid", "lenpen", "calibrated by", "chosen", "updates", "minutes"]]
    for method in groups:
        values = [column.get(method.name, "–") for column in columns.values()]
        rows.append([method.name, f"{len(done[method])}/{seeds}", *values, *_decoding(done[method])])
    bottom += _missing(experiment, groups, read)
    return TextTable(f"{experiment.name}: {direction[0]} → {direction[1]}, test", rows, bottom)


def _accuracies(experiment, direction, groups, out):
    """Accuracy and calibration of each method on the test images; a method without a finished cell has a row too."""
    done = {m: _done(group) for m, group in groups.items()}
    read = {
        method.name: [classification.seed_of(out / c.cell.checkpoint, "test", "valid") for c, _ in group]
        for method, group in done.items()
        if group
    }
    heading, values, bottom = [], {}, []
    if experiment.baseline in read:
        found = classification.table(read)
        (_, *heading), *rows = found.rows
        values, bottom = {name: cells for name, *cells in rows}, list(found.notes)
    rows = [["method", "cells", *heading, "accuracy valid", "chosen", "updates", "minutes"]]
    for method, group in done.items():
        mine = values.get(method.name, ["–"] * len(heading))
        rows.append([method.name, f"{len(group)}/{len(experiment.seeds)}", *mine, *_training(experiment, group)])
    return TextTable(f"{experiment.name}: {direction[0]}, test", rows, bottom + _missing(experiment, groups, read))


def _missing(experiment, groups, read):
    """Notes about what is not there."""
    found = []
    if read and experiment.baseline not in read:
        found.append(f"no scores: the baseline, {experiment.baseline}, has no finished cell")
    for group in groups.values():
        found += [
            f"{c.name}: {s['state']}: {s.get('message', '')}".rstrip(": ") for c, s in group if s["state"] != "done"
        ]
    return found


def _corpus(part, out):
    return corpus_at(out / part.cell.data, "-".join(part.direction))


def _scored(read, corpus):
    """({heading: {method: text}}, notes) of BLEU and chrF2, and of tokenized BLEU."""
    columns, found = {}, []
    several = max(map(len, read.values())) > 1
    tests = () if several or len(read) < 2 else significance.TESTS["both"]
    settings = {"samples": significance.SAMPLES, "trials": significance.TRIALS, "seed": significance.SEED}
    for names, kind in ((["bleu", "chrf2"], "raw"), (["tokenized"], "tok")):
        references, file = corpus.lines(kind, corpus.target), corpus.file(kind, corpus.target)
        tokenize = chosen(None, corpus.target, references, file) if kind == "raw" else None
        table = score_table(read, names, of_lines(references, file), corpus.lowercase, tests, settings, tokenize)
        heading, *rows = table.rows()
        for i, label in enumerate(heading[1:], 1):
            if label != "seeds":
                columns[label] = {row[0]: row[i] for row in rows}
        found += [f"{name}: {entry['signature']}" for name, entry in table.scores.items()]
    if corpus.synthetic:
        found.append("synthetic corpus: these scores say nothing about real translation")
    return columns, [*found, *table.notes]


def _decoding(group):
    """Cells about validation and training of a method's finished cells."""
    if not group:
        return ["–"] * 6
    mean, *training = _training(group[0][0].cell.experiment, group)
    lenpens, kinds = ("/".join(str(s["valid"][key]) for _, s in group) for key in ("lenpen", "calibrate"))
    return [mean, lenpens, kinds, *training]


def _training(experiment, group):
    """Cells about validation and training of a method's finished cells: mean score, point of the grid, …"""
    if not group:
        return ["–"] * 4
    mean = sum(valid_score(experiment, s) for _, s in group) / len(group)
    point = ", ".join(f"{flag}={value}" for flag, value in group[0][0].cell.grid.items()) or "–"
    updates = "/".join(str(s["updates"]) for _, s in group)
    minutes = "/".join(shown(s["minutes"], ".1f") for _, s in group)
    return [f"{mean:.2f}", point, updates, minutes]


def _splits(experiment, direction, subset, groups, out):
    """Table 4 of LABO: BLEU by training frequency of the source, over the seeds."""
    by_method, signature = {}, ""
    for method, group in groups.items():
        files = [cells.read_json(out / p.name / f"splits-{subset}.json") for p, _ in _done(group)]
        if files and all(files):
            signature = files[0]["signature"]
            by_method[method.name] = [[next(iter(p["scores"].values())) for p in f["scores"]] for f in files]
            names = [part["split"] for part in files[0]["scores"]]
    title = f"{experiment.name}: {direction[0]} → {direction[1]}, {subset}, by training frequency of the source"
    if experiment.baseline not in by_method:
        return TextTable(title, [["method"]], ["no scores yet: the baseline has no finished cell"])
    rows = [["method", *(f"{name}{label}" for name in names for label in ("", " std", " difference", " p (Welch)"))]]
    columns = []
    for i in range(len(names)):
        seeds = significance.across_seeds([[values[i] for values in method] for method in by_method.values()])
        columns.append(seeds)
    for k, name in enumerate(by_method):
        row = [name]
        for column in columns:
            one = column[k]
            row += [f"{one.mean:.2f}", shown(one.std, ".2f"), shown(one.difference, "+.2f"), shown(one.p_welch, ".4f")]
        rows.append(row)
    return TextTable(title, rows, [signature])


def _runs(pairs, out):
    """`labo table` of all cells."""
    runs = []
    for one, _ in pairs:
        runs.append(read_run(out / one.name))
        runs[-1].name = one.name
    rows = [list(COLUMNS), *([show(run) for show in COLUMNS.values()] for run in runs)]
    return TextTable("training runs", rows, notes(runs))


def _sensitivity(experiment, groups, folder):
    """A table and a plot of BLEU, of images accuracy, against each varied flag."""
    measure = experiment.measure
    families = {}
    for method, group in groups.items():
        if method.varied and _done(group):
            family, flag, value = method.varied
            scores = [test_score(experiment, s) for _, s in _done(group)]
            families.setdefault((family, flag), []).append((value, significance.across_seeds([scores])[0]))
    base = next(m for m in groups if m.name == experiment.baseline)
    level = [test_score(experiment, s) for _, s in _done(groups[base])]
    for (family, flag), points in families.items():
        rows = [[flag, measure, "std", "seeds"]]
        rows += [[str(v), f"{s.mean:.2f}", shown(s.std, ".2f"), str(len(s.values))] for v, s in points]
        name = folder / f"sensitivity_{slug(family)}_{flag}"
        _write(name, TextTable(f"{family}: {measure} against {flag}", rows))
        _plot(name.with_name(name.name + ".png"), family, flag, points, experiment.baseline, level, measure)


def _plot(path, family, flag, points, baseline, level, measure):
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("no plots: pip install 'labo_fairseq[plot]'", file=sys.stderr)
        return
    figure = Figure(figsize=(5.4, 3.4), layout="constrained")
    axes = figure.add_subplot()
    values, means = [v for v, _ in points], [s.mean for _, s in points]
    axes.errorbar(values, means, [s.std or 0 for _, s in points], marker="o", capsize=3, label=family)
    if level:
        axes.axhline(sum(level) / len(level), linestyle="--", color="#555555", label=baseline)
    axes.set_xlabel(flag)
    axes.set_ylabel(f"{measure} (test)")
    axes.legend(frameon=False)
    image = io.BytesIO()
    figure.savefig(image, format="png", dpi=160)
    with write_aside(path, "wb") as stream:
        stream.write(image.getvalue())


def _report(experiment, groups, folder, out):
    runs = [str(out / c.name) for group in groups.values() for c, _ in _done(group)]
    if not runs:
        return
    command = [sys.executable, "-m", "labo_fairseq.cli", "report", *runs, "--out", str(folder / "report")]
    command += ["--title", experiment.name] * experiment.images
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().rpartition("\n")[2]
        print(f"no report: {last}", file=sys.stderr)


def _write(path, table):
    for suffix, text in ((".tsv", table.as_tsv()), (".md", as_markdown(table))):
        with write_aside(path.with_name(path.name + suffix)) as stream:
            stream.write(text + "\n")
