"""Accuracy of teachers and students against the smoothness γ of their targets: Figures 5, 7 and 8 of two papers.

  labo experiment run scripts/experiments/distillation_study.yaml --profile small --raw-dir DIR --jobs 2
  labo distillation-study runs/distillation_study.small/mnist10k --out study

DIR is a data set's folder in what `labo experiment` wrote, METHOD/seedN below it. A run whose checkpoint another one
has as --teacher-path is a teacher. The curves of Müller et al. (2019) and Wagner et al. (2023):

  M1  teachers by their label smoothing α      M3  students of the teacher with hard labels, by temperature
  M2  students alone, by α                     M4  students of smoothed teachers, by α, usually at T = 1

and the same with LABO, and students that match logits. γ is the mass that a teacher gives to wrong classes on the
training images, times K/(K−1) (Wagner et al., equation 3); of M1 and M2 it is α; of LABO's own runs that of their
outputs.

Prints a row per method; OUT gets distillation_study.tsv and distillation_study.png (by matplotlib).
"""

import json
from pathlib import Path

from tqdm import tqdm

from .errors import UserError


def add_arguments(parser):
    """Declare the arguments of `labo distillation-study`."""
    parser.add_argument("folder", metavar="DIR", help="folder of the methods of an experiment")
    parser.add_argument("--data", metavar="DIR", help="folder of the images; without it the experiment's")
    parser.add_argument("--out", metavar="DIR", default="study", help="folder for the figure and the table")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded numbers instead of TSV")


def run(args):
    """Measure γ where it is missing, print, write; returns 0. Raises UserError on bad input."""
    from .analysis import distillation, figures
    from .analysis.page import drawn, saved
    from .penultimate import folder

    figures.new_figure(1, 1)  # where matplotlib is missing, say so before the models run
    points = _points(args)
    table = distillation.table(points)
    print(json.dumps([vars(p) for p in points], indent=1, ensure_ascii=False) if args.json else table.as_tsv())
    out = folder(args.out)
    saved(table, out, "distillation_study")
    heading = "Distillation: accuracy by smoothness"
    figure = figures.lines(distillation.series(points), "smoothness γ", "test accuracy (%)", heading)
    drawn(figure, out, "distillation_study", "accuracy of teachers and students against γ")
    return 0


def _points(args):
    """[distillation.Point], a method each, by curve."""
    from .analysis import distillation, run_folder

    root = Path(args.folder)
    runs = {path.parent: run_folder.read_settings(path.parent) for path in sorted(root.glob("*/seed*/command.json"))}
    # paths in the commands are relative to the experiment's folder; a teacher is one before its students have ended
    teachers = {path: _teacher(root, settings) for path, settings in runs.items()}
    runs = {path: settings for path, settings in runs.items() if distillation.accuracy(path) is not None}
    if not runs:
        raise UserError(f"{root}: no finished METHOD/seedN of image classifiers: give OUT/DATASET of an experiment")
    by_method = {}
    for path in tqdm(runs, desc="smoothness", unit="run", leave=False, delay=2):
        if teachers[path] and teachers[path] not in runs:
            raise UserError(f"{path}: its teacher, {teachers[path]}, is not there or not finished: run the experiment")
        by_method.setdefault(path.parent.name, []).append(_seed(path, runs, teachers, args))
    points = [_joined(method, seeds) for method, seeds in by_method.items()]
    return sorted(points, key=lambda p: (not p.curve.startswith("M"), p.curve, p.gamma))


def _teacher(root, settings):
    """Folder of the run that teaches one, None without."""
    path = settings.get("teacher_path")
    return root.parent / Path(path).parents[1] if path else None


def _seed(path, runs, teachers, args):
    """A Point of one seed."""
    from .analysis import distillation

    settings, own = runs[path], teachers[path]
    role = runs[own] if own else "itself" if path in teachers.values() else None
    outputs = None
    if own or distillation.alpha(settings) is None:
        outputs = _outputs(own or path, args)
    temperature = float(settings.get("teacher_temperature", 1)) if own else None
    return distillation.Point(
        distillation.curve_of(settings, role),
        path.parent.name,
        own.parent.name if own else "–",
        None if settings.get("distill_match") == "logits" else temperature,
        distillation.gamma_of(settings, role, outputs),
        (distillation.accuracy(path),),
    )


def _outputs(path, args):
    """Predictions of a run's checkpoint on its training images, not augmented; made where they are missing."""
    from .analysis import predictions
    from .classify_report import ensure_predictions

    checkpoint = predictions.checkpoint_of(path)
    ensure_predictions(checkpoint, ["train"], args.data, args.cpu)
    return predictions.read(predictions.path_beside(checkpoint, "train"))


def _joined(method, seeds):
    """The Points of the seeds of a method as one."""
    from dataclasses import replace

    gamma = sum(seed.gamma for seed in seeds) / len(seeds)
    return replace(seeds[0], gamma=gamma, accuracies=tuple(a for seed in seeds for a in seed.accuracies))
