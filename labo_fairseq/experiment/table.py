"""The tables of an experiment, by the code behind `labo score`, `labo splits`, `labo table` and `labo report`."""

import subprocess
import sys
from pathlib import Path

from ..analysis import bleu, classification, systems
from ..analysis.references import of_corpus
from ..analysis.runs import COLUMNS, notes, read_run
from ..analysis.score import score_table
from ..errors import UserError
from ..figures import style
from ..files import write_aside
from ..measures import significance
from ..records.run_folder import corpus_at
from ..records.tables import TextTable, shown
from . import cells, curves, details
from .schedule import chosen_point, test_score, valid_score
from .spec import slug


def write_tables(experiment, cells_and_states, out, report=True):
    """Write OUT/DIRECTION/*.tsv and *.md, the plots and the report; returns [TextTable] of the scores.

    cells_and_states: pairs of (Cell, status). Below they are pairs of (Part, its scores in the status).
    """
    out, tables = Path(out), []
    for direction in experiment.directions:
        mine = [(c, s) for c, s in cells_and_states if direction in c.directions]
        folder = out / "-".join(direction)
        folder.mkdir(parents=True, exist_ok=True)
        main, *others = experiment.decode.checkpoints
        groups = {m: _parts(direction, group, main) for m, group in _groups(experiment, mine).items()}
        made = _tables(experiment, direction, groups, out)
        made["runs"] = _runs(_parts(direction, mine, main), out)
        for kind in others:
            parts = {m: _parts(direction, group, kind) for m, group in _groups(experiment, mine).items()}
            further = _tables(experiment, direction, parts, out, f", checkpoint {kind}")
            made |= {f"{name}.{kind}": table for name, table in further.items()}
        if experiment.decode.curve:
            points = curves.points(experiment, groups, out)
            made["curves"] = curves.table(experiment, direction, points)
            _draw(folder / "curves.png", curves.figure, experiment, direction, points)
        for name, table in made.items():
            _write(folder / name, table)
        _sensitivity(experiment, groups, folder)
        if report:
            _report(experiment, groups, folder, out)
        tables += made.values()
    return tables


def _tables(experiment, direction, groups, out, which=""):
    """{file name: TextTable} of the scores of one checkpoint of each cell; which: what the titles end with."""
    if experiment.images:
        return {"table": _accuracies(experiment, direction, groups, out)}
    made = {"table": _scores(experiment, direction, groups, out, which)}
    for subset, _ in experiment.decode.splits:
        made[f"splits-{subset}"] = _splits(experiment, direction, subset, groups, out, which)
    title = f"{experiment.name}: {direction[0]} → {direction[1]}, test{which}"
    read = _read(groups, out)
    if read:
        corpus = _corpus(next(p for g in groups.values() for p, _ in _done(g)), out)
        made["bleu"] = details.precisions(f"{title}, BLEU and its parts", read, corpus)
        made["confidence"] = details.confidence_of_chosen(f"{title}, probabilities of the chosen tokens", read)
    if experiment.decode.paired and experiment.baseline in read:
        made["paired"] = _paired(experiment, f"{title}, equal seeds compared by paired tests", groups, out)
    if experiment.decode.ece:
        scores = {method.name: [s["ece"] for _, s in _done(group) if "ece" in s] for method, group in groups.items()}
        made["calibration"] = details.calibration(f"{title}, calibration of the next token", scores)
    return made


def table_of_status(cells_and_states):
    """One row per cell."""
    measure = cells_and_states[0][0].experiment.measure if cells_and_states else "BLEU"
    rows = [["cell", "state", "step", "hours", f"{measure} valid", f"{measure} test", "message"]]
    for one, status in cells_and_states:
        scores = [part.scores(status) for part in one.parts]
        columns = [[score(one.experiment, s) for s in scores] for score in (valid_score, test_score)]
        hours = status["seconds"] / 3600 if "seconds" in status else None
        numbers = [shown(hours, ".2f"), *("/".join(shown(score, ".2f") for score in column) for column in columns)]
        rows.append([one.name, status["state"], status.get("step") or "–", *numbers, status.get("message") or "–"])
    return TextTable("cells", rows)


def _parts(direction, pairs, kind):
    """[(Part, status with the scores of this direction and checkpoint)] of pairs of (Cell, status)."""
    parts = []
    for one, status in pairs:
        part = next(part for part in one.all_parts if (part.direction, part.kind) == (direction, kind))
        parts.append((part, {**status, **part.scores(status)}))
    return parts


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


def _read(groups, out):
    """{name of a method: [System of each finished cell]}; none for a method without one."""
    done = {method.name: _done(group) for method, group in groups.items()}
    return {
        name: [systems.read_system(part.name, str(out / part.name / "generate-test.txt")) for part, _ in group]
        for name, group in done.items()
        if group
    }


def _scores(experiment, direction, groups, out, which):
    """Mean, deviation, difference and p-value of each method; a method without a finished cell has a row too."""
    seeds, done = len(experiment.seeds), {m: _done(group) for m, group in groups.items()}
    read, columns, bottom = _read(groups, out), {}, []
    # without the baseline there is nothing to differ from: the first finished method must not take its place silently
    if experiment.baseline in read:
        corpus = _corpus(next(p for g in done.values() for p, _ in g), out)
        columns, bottom = _scored(read, corpus, experiment.decode.metrics)
    rows = [["method", "cells", *columns, "BLEU valid", "lenpen", "calibrated by", "chosen", "updates", "minutes"]]
    for method in groups:
        values = [column.get(method.name, "–") for column in columns.values()]
        rows.append([method.name, f"{len(done[method])}/{seeds}", *values, *_decoding(done[method])])
    bottom += _missing(experiment, groups, read)
    return TextTable(f"{experiment.name}: {direction[0]} → {direction[1]}, test{which}", rows, bottom)


def _accuracies(experiment, direction, groups, out):
    """Accuracy and calibration of each method on the test images; a method without a finished cell has a row too."""
    done = {m: _done(group) for m, group in groups.items()}
    read = {
        method.name: [classification.seed_of(out / c.checkpoint, "test", "valid") for c, _ in group]
        for method, group in done.items()
        if group
    }
    heading, values, bottom = [], {}, []
    if experiment.baseline in read:
        compared = classification.table(read)
        (_, *heading), *rows = compared.rows
        values, bottom = {name: cells for name, *cells in rows}, list(compared.notes)
    rows = [["method", "cells", *heading, "accuracy valid", "chosen", "updates", "minutes"]]
    for method, group in done.items():
        mine = values.get(method.name, ["–"] * len(heading))
        rows.append([method.name, f"{len(group)}/{len(experiment.seeds)}", *mine, *_training(experiment, group)])
    return TextTable(f"{experiment.name}: {direction[0]}, test", rows, bottom + _missing(experiment, groups, read))


def _missing(experiment, groups, read):
    """Notes about what is not there."""
    lines = []
    if read and experiment.baseline not in read:
        lines.append(f"no scores: the baseline, {experiment.baseline}, has no finished cell")
    for group in groups.values():
        lines += [
            f"{c.name}: {s['state']}: {s.get('message', '')}".rstrip(": ") for c, s in group if s["state"] != "done"
        ]
    return lines


def _corpus(part, out):
    return corpus_at(out / part.cell.data, "-".join(part.direction))


def _scored(read, corpus, metrics):
    """({heading: {method: text}}, notes) of metrics, of analysis.bleu.METRICS."""
    columns, lines = {}, []
    several = max(map(len, read.values())) > 1
    tests = () if several or len(read) < 2 else significance.TESTS["both"]
    settings = {"samples": significance.SAMPLES, "trials": significance.TRIALS, "seed": significance.SEED}
    detokenized = [name for name in metrics if name in bleu.DETOKENIZED]
    tokenized = [name for name in metrics if name in bleu.TOKENIZED]
    for names, kind in ((detokenized, "raw"), (tokenized, "tok")):
        if not names:
            continue
        references, tokenize = of_corpus(corpus, kind)
        table = score_table(read, names, references, corpus.lowercase, tests, settings, tokenize)
        heading, *rows = table.rows()
        for i, label in enumerate(heading[1:], 1):
            if label != "seeds":
                columns[label] = {row[0]: row[i] for row in rows}
        lines += [f"{name}: {entry['signature']}" for name, entry in table.scores.items()]
    if corpus.synthetic:
        lines.append("synthetic corpus: these scores say nothing about real translation")
    return columns, [*lines, *table.notes]


def _paired(experiment, title, groups, out):
    """Each seed of each method beside the baseline of the same seed."""
    rows, heading, notes = [], [], []
    for seed in experiment.seeds:
        of_seed = {method: [(p, s) for p, s in group if p.cell.seed == seed] for method, group in groups.items()}
        read = _read(of_seed, out)
        if experiment.baseline not in read or len(read) < 2:
            continue
        corpus = _corpus(next(p for g in of_seed.values() for p, _ in _done(g)), out)
        columns, notes = _scored(read, corpus, experiment.decode.metrics)
        heading = [["seed", "method", *columns]]
        rows += [[str(seed), name, *(column[name] for column in columns.values())] for name in read]
    return TextTable(title, heading + rows or [["seed", "method"]], notes)


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


def _splits(experiment, direction, subset, groups, out, which):
    """Table 4 of LABO: BLEU by training frequency of the source, over the seeds."""
    by_method, signature = {}, ""
    for method, group in groups.items():
        files = [cells.read_json(out / p.name / f"splits-{subset}.json") for p, _ in _done(group)]
        if files and all(files):
            signature = files[0]["signature"]
            by_method[method.name] = [[next(iter(p["scores"].values())) for p in f["scores"]] for f in files]
            names = [part["split"] for part in files[0]["scores"]]
    title = f"{experiment.name}: {direction[0]} → {direction[1]}, {subset}, by training frequency of the source{which}"
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
        numbers = all(isinstance(value, int | float) for value, _ in points)
        curve = {family: [(v if numbers else str(v), s.mean, s.std or 0) for v, s in points]}
        levels = [(sum(level) / len(level), experiment.baseline)] if level else []
        path = name.with_name(name.name + ".png")
        _draw(path, style.lines, curve, flag, f"{measure} (test)", f"{measure} against {flag}", levels=levels)


def _draw(path, draw, *arguments, **options):
    """Write a figure; where matplotlib is missing say so."""
    try:
        style.save(draw(*arguments, **options), path)
    except UserError as error:
        print(f"labo experiment: no figure: {error}", file=sys.stderr)


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
    for suffix, text in ((".tsv", table.as_tsv()), (".md", table.as_markdown())):
        with write_aside(path.with_name(path.name + suffix)) as stream:
            stream.write(text + "\n")
