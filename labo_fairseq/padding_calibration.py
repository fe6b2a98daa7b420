"""What counting padding does to the calibration of a translation model: one figure, two curves.

  labo padding-calibration data-bin --path checkpoint_best.pt --subset valid --out padding

Sentences of a batch are filled up to the longest one. A model never learns what to predict there, so every such place
counts as a confident mistake where a program forgets to leave it out, and the ECE says how the sentences were batched.
Wagner et al. (2023) count padding on Multi30k, in batches of 128 sentences in the order of the file: their ECE and
temperature are those of the padding. Every other command here leaves it out.

Prints a row per temperature; OUT gets padding.tsv, reliability.tsv and padding.png (by matplotlib).
"""

import json

from .calibrate import TEMPERATURES
from .errors import UserError

WAYS = ("target tokens", "with padding")


def add_arguments(parser):
    """Declare the arguments of `labo padding-calibration`."""
    parser.add_argument("data", metavar="DATA", help="folder of fairseq binaries, with the dictionaries")
    parser.add_argument("--path", required=True, metavar="CKPT", help="a checkpoint")
    parser.add_argument("--subset", default="valid", help="data to measure on")
    parser.add_argument("--batch-size", type=int, default=128, metavar="N", help="sentences that are padded together")
    parser.add_argument(
        "--temperatures", nargs="+", type=float, default=[*TEMPERATURES, 2.5, 3.0], metavar="T", help="of the curve"
    )
    parser.add_argument("--out", metavar="DIR", default="padding", help="folder for the figure and the tables")
    parser.add_argument("--cpu", action="store_true", help="do not use a GPU")
    parser.add_argument("--json", action="store_true", help="JSON with unrounded numbers instead of TSV")


def run(args):
    """Measure, print, write; returns 0. Raises UserError on bad input."""
    from .analysis import inside_figures
    from .analysis.page import drawn, saved
    from .penultimate import folder

    if args.batch_size < 1:
        raise UserError(f"--batch-size: {args.batch_size}: must be 1 or more")
    wanted = sorted({1.0, *args.temperatures})
    if not wanted[0] > 0:
        raise UserError(f"--temperatures: {wanted[0]} is not above 0: temperatures are")
    inside_figures.new_figure(1, 1)  # where matplotlib is missing, say so before the model runs
    sums = _sums(args, wanted)
    rows = [_row(t, way, sums[way][t]) for way in WAYS for t in wanted]
    bins = [row for way in WAYS for row in _bins(way, sums[way][1.0])]
    tables = [_table("ECE with and without padding", rows), _table("reliability at T = 1", bins)]
    print(json.dumps({"ece": rows, "reliability": bins}, indent=1) if args.json else tables[0].as_tsv())
    out = folder(args.out)
    for table, name in zip(tables, ("padding", "reliability"), strict=True):
        saved(table, out, name)
    drawn(inside_figures.padding(rows, bins), out, "padding", "ECE with and without padding")
    return 0


def _sums(args, temperatures):
    """{way: {T: BinSums}} of one pass."""
    import torch
    from tqdm import tqdm

    from . import register
    from .calibration.collect import is_of_images, load_models
    from .criterions._projection import dense_logits
    from .functional.calibration import BinSums

    register()
    device = "cuda" if torch.cuda.is_available() and not args.cpu else "cpu"
    (model,), task = load_models([args.path], args.data, device)
    if is_of_images(task):
        raise UserError(f"--path: {args.path}: classifies images, which are not padded: give a translation model")
    found = {way: {} for way in WAYS}
    pad = task.target_dictionary.pad()
    dataset, batches = _batches(task, args)
    for indices in tqdm(batches, desc=f"{args.subset}: forward pass", unit="batch", leave=False, delay=2):
        sample = dataset.collater([dataset[i] for i in indices])
        net_input = {k: v.to(device) if torch.is_tensor(v) else v for k, v in sample["net_input"].items()}
        target = sample["target"].to(device)
        with torch.no_grad():
            logits = dense_logits(model, net_input)
        kept = target.ne(pad)
        correct = logits.argmax(-1).eq(target)
        for t in temperatures:
            confidence = torch.softmax(logits.float() / t, -1).amax(-1)
            for way, mask in zip(WAYS, (kept, torch.ones_like(kept)), strict=True):
                one = BinSums.of(confidence[mask].cpu(), correct[mask].cpu())
                found[way][t] = found[way][t] + one if t in found[way] else one
    return found


def _batches(task, args):
    """(data set, batches of indices in the order of the file); fairseq's have sentences of like length together."""
    try:
        task.load_dataset(args.subset)
    except FileNotFoundError as error:
        raise UserError(f"--subset: {args.subset}: {error}: name a binarized subset of DATA") from None
    dataset = task.dataset(args.subset)
    numbers = range(len(dataset))
    return dataset, [numbers[start : start + args.batch_size] for start in range(0, len(numbers), args.batch_size)]


def _row(temperature, way, sums):
    count = float(sums.count.sum())
    accuracy = float(sums.correct.sum()) / count
    return {"counted": way, "T": temperature, "ece": float(sums.ece()), "accuracy": accuracy, "places": int(count)}


def _bins(way, sums):
    """Rows of the bins that hold places."""
    edges = [i / len(sums.count) for i in range(len(sums.count))]
    return [
        {"counted": way, "bin_low": low, "confidence": float(c / n), "accuracy": float(right / n), "places": int(n)}
        for low, n, c, right in zip(edges, sums.count, sums.confidence, sums.correct, strict=True)
        if n
    ]


def _table(title, rows):
    from .analysis.tables import TextTable

    cells = [[f"{x:.4f}" if isinstance(x, float) else str(x) for x in row.values()] for row in rows]
    return TextTable(title, [list(rows[0]), *cells])
