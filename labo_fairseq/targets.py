"""The smoothed target of one position under label smoothing and under LABO, as in Figure 1c of Lu et al. (2023).

  labo targets data-bin --path checkpoint_best.pt --source "ein mann" --target "a man" --token man --out targets
  labo targets data-bin --path checkpoint_best.pt --subset valid --sentence 17 --position 4

LABO's target depends on what the model thinks, given the source and the target's tokens before the position. Texts are
written as in the data: tokens and subwords with spaces between them. </s> is the end of the sentence.

Prints the --top types of LABO's distribution P* = softmax(z/τ) and the true one, with their probabilities under the
model and in each target; OUT gets them as targets.tsv and targets.png (by matplotlib).
"""

import json

from .errors import UserError


def add_arguments(parser):
    """Declare the arguments of `labo targets`."""
    parser.add_argument("data", metavar="DATA", help="folder of fairseq binaries, with the dictionaries")
    parser.add_argument("--path", required=True, metavar="CKPT", help="a checkpoint")
    parser.add_argument("--source", metavar="TEXT", help="a sentence of your own, with --target")
    parser.add_argument("--target", metavar="TEXT", help="its translation")
    parser.add_argument("--sentence", type=int, metavar="ID", help="a sentence of the data, counted from 0")
    parser.add_argument("--subset", default="valid", help="where --sentence is")
    place = parser.add_mutually_exclusive_group(required=True)
    place.add_argument("--token", help="the target token whose place is shown, where it is first")
    place.add_argument("--position", type=int, metavar="N", help="the place in the target sentence, counted from 1")
    parser.add_argument("--label-smoothing", type=float, default=0.1, metavar="α", help="mass of the smoothing")
    parser.add_argument("--smoothing-temperature", type=float, default=1.25, metavar="τ", help="of LABO")
    parser.add_argument("--rho", type=float, default=0.5, metavar="ρ", help="of LABO's adaptive mass")
    parser.add_argument("--top", type=int, default=8, metavar="K", help="types to show")
    parser.add_argument("--out", metavar="DIR", default="targets", help="folder for the figure and the table")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded numbers instead of TSV")


def run(args):
    """Compute, print, write; returns 0. Raises UserError on bad input."""
    from .analysis import inside_figures
    from .analysis.page import drawn, saved
    from .analysis.tables import TextTable
    from .penultimate import folder

    _check(args)
    inside_figures.new_figure(1, 1)  # where matplotlib is missing, say so before the model runs
    heading, rows = _distributions(args)
    names = list(next(iter(rows.values())))
    cells = [[token, *(f"{row[name]:.4g}" for name in names)] for token, row in rows.items()]
    table = TextTable(heading, [["type", *names], *cells])
    found = {"position": heading, "targets": rows}
    print(json.dumps(found, indent=1, ensure_ascii=False) if args.json else table.as_tsv())
    out = folder(args.out)
    saved(table, out, "targets")
    drawn(inside_figures.targets(rows, heading), out, "targets", "target distributions of one position")
    return 0


def _check(args):
    if (args.source is None) != (args.target is None) or (args.source is None) == (args.sentence is None):
        raise UserError("--source: give both --source and --target, or --sentence, and not all of them")
    for flag, value in (("--label-smoothing", args.label_smoothing), ("--rho", args.rho)):
        if not 0 <= value <= 1:
            raise UserError(f"{flag}: {value} is out of range: give a number in [0, 1]")
    if not 0 < args.smoothing_temperature < float("inf"):
        raise UserError(f"--smoothing-temperature: {args.smoothing_temperature}: must be finite and above 0")
    if args.top < 1:
        raise UserError(f"--top: {args.top}: must be 1 or more")


def _distributions(args):
    """(heading, {type: {name of the distribution: probability}}) of the position; the true type comes first."""
    import torch

    from . import register
    from .calibration.collect import is_of_images, load_models
    from .criterions._prior import settings_of
    from .criterions._projection import dense_logits

    register()
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    (model,), task = load_models([args.path], args.data, device)
    if is_of_images(task) or getattr(settings_of(task), "lang_pairs", None):
        raise UserError(f"--path: {args.path}: must be a model of --task translation: an image has no position")
    source, target = _sentence(args, task)
    symbols = task.target_dictionary
    place = _place(args, target, symbols)
    # what fairseq makes of a single sentence, which needs no padding
    sample = {
        "src_tokens": source.unsqueeze(0).to(device),
        "src_lengths": torch.tensor([len(source)], device=device),
        "prev_output_tokens": target.roll(1).unsqueeze(0).to(device),
    }
    with torch.no_grad():
        logits = dense_logits(model, sample)[0, place].double().cpu()
    true = int(target[place])
    heading = f"{_shown(symbols, target[:place])} [{symbols[true]}] after {_shown(task.source_dictionary, source)}"
    return heading, _rows(logits, true, symbols, args)


def _rows(logits, true, symbols, args):
    import torch

    from .functional import targets

    alpha, tau = args.label_smoothing, args.smoothing_temperature
    best = targets.labo_distribution(logits, tau)
    mass = targets.labo_mass(logits, args.rho)
    columns = {
        "model": torch.softmax(logits, 0),
        "one-hot": targets.one_hot(logits, true),
        f"label smoothing α={alpha:g}": targets.smoothed(logits, true, alpha, targets.uniform(logits)),
        f"LABO fixed α={alpha:g}": targets.smoothed(logits, true, alpha, best),
        f"LABO adaptive α={mass:.3f}": targets.smoothed(logits, true, mass, best),
    }
    types = list(dict.fromkeys([true, *best.topk(min(args.top, len(best))).indices.tolist()]))
    return {symbols[i]: {name: float(column[i]) for name, column in columns.items()} for i in types}


def _sentence(args, task):
    """Indices of source and target, both with EOS."""
    if args.sentence is None:
        return _encoded(args.source, task.source_dictionary, "--source"), _encoded(
            args.target, task.target_dictionary, "--target"
        )
    try:
        task.load_dataset(args.subset)
    except FileNotFoundError as error:
        raise UserError(f"--subset: {args.subset}: {error}: name a binarized subset of DATA") from None
    dataset = task.dataset(args.subset)
    if not 0 <= args.sentence < len(dataset):
        raise UserError(f"--sentence: {args.sentence}: {args.subset} has the sentences 0 to {len(dataset) - 1}")
    pair = dataset[args.sentence]
    return pair["source"], pair["target"]


def _encoded(text, dictionary, flag):
    words = text.split()
    if not words:
        raise UserError(f"{flag}: is empty: give a sentence")
    unknown = [word for word in words if word not in dictionary.indices]
    if unknown:
        raise UserError(f"{flag}: {' '.join(unknown)}: not in the dictionary: write tokens and subwords as in the data")
    return dictionary.encode_line(text, add_if_not_exist=False).long()


def _place(args, target, symbols):
    """The place in the target, from 0."""
    tokens = [symbols[i] for i in target.tolist()]
    if args.position is not None:
        if not 1 <= args.position <= len(tokens):
            raise UserError(f"--position: {args.position}: the target has {len(tokens)} tokens: {' '.join(tokens)}")
        return args.position - 1
    if args.token not in tokens:
        raise UserError(f"--token: {args.token}: not in the target: choose from {' '.join(dict.fromkeys(tokens))}")
    return tokens.index(args.token)


def _shown(dictionary, indices):
    return " ".join(dictionary[i] for i in indices.tolist() if i != dictionary.eos())
