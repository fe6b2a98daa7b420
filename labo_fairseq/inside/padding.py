"""The calibration of a translation model with and without the padding of its batches."""

import torch

from ..errors import UserError
from ..fairseq_models.loading import chosen_device, is_of_images, load_models
from ..fairseq_models.projection import dense_logits
from ..functional.calibration import bin_sums
from ..measures.calibration import BINS, ece
from ..progress import progress
from ..records.tables import TextTable

WAYS = ("target tokens", "with padding")


def sums_by_temperature(path, data, subset, temperatures, batch_size=128, cpu=False):
    """{way: {T: bin sums (3, B)}} of a checkpoint, in one pass over a subset of the folder of binaries `data`.

    batch_size: sentences that are padded together, in the order of the file. Raises UserError.
    """

    device = chosen_device(cpu)
    (model,), task = load_models([path], data, device)
    if is_of_images(task):
        raise UserError(f"--path: {path}: classifies images, which are not padded: give a translation model")
    sums = {way: {} for way in WAYS}
    pad = task.target_dictionary.pad()
    dataset, batches = _batches(task, subset, batch_size)
    for indices in progress(batches, f"{subset}: forward pass", "batch"):
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
                one = bin_sums(confidence[mask], correct[mask], BINS).cpu().numpy()
                sums[way][t] = sums[way][t] + one if t in sums[way] else one
    return sums


def _batches(task, subset, batch_size):
    """(data set, batches of indices in the order of the file); fairseq's have sentences of like length together."""
    try:
        task.load_dataset(subset)
    except FileNotFoundError as error:
        raise UserError(f"--subset: {subset}: {error}: name a binarized subset of DATA") from None
    dataset = task.dataset(subset)
    numbers = range(len(dataset))
    return dataset, [numbers[start : start + batch_size] for start in range(0, len(numbers), batch_size)]


def row(temperature, way, sums):
    """A row of the table of ECE against T."""
    count = float(sums[0].sum())
    accuracy = float(sums[2].sum()) / count
    return {"counted": way, "T": temperature, "ece": float(ece(sums)), "accuracy": accuracy, "places": int(count)}


def bins(way, sums):
    """Rows of the bins that hold places."""
    edges = [i / sums.shape[1] for i in range(sums.shape[1])]
    return [
        {"counted": way, "bin_low": low, "confidence": float(c / n), "accuracy": float(right / n), "places": int(n)}
        for low, n, c, right in zip(edges, *sums, strict=True)
        if n
    ]


def table(title, rows):
    """A TextTable of rows."""
    cells = [[f"{x:.4f}" if isinstance(x, float) else str(x) for x in row.values()] for row in rows]
    return TextTable(title, [list(rows[0]), *cells])
