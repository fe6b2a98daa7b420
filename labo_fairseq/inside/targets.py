"""The smoothed target of one position under label smoothing and LABO (Lu et al. 2023, Figure 1c)."""

from dataclasses import dataclass

import torch

from ..errors import UserError
from ..fairseq_models.loading import chosen_device, is_of_images, load_models, settings_of
from ..fairseq_models.projection import dense_logits
from ..functional import targets


@dataclass(frozen=True)
class Place:
    """A position of a target sentence. The sentence is given as texts, or as a number in a subset of the data."""

    source: str | None = None  #: subwords with spaces between them, with `target`
    target: str | None = None
    subset: str = "valid"
    sentence: int | None = None  #: counted from 0
    token: str | None = None  #: the position where this token stands first, or
    position: int | None = None  #: counted from 1


@dataclass(frozen=True)
class Smoothing:
    """The settings of the targets that are compared."""

    label_smoothing: float = 0.1
    smoothing_temperature: float = 1.25
    rho: float = 0.5


def distributions(path, data, place, smoothing, top=8, cpu=False):
    """(heading, {type: {name of the distribution: probability}}) of a Place; the true type comes first.

    path: checkpoint; data: folder of fairseq's binaries; smoothing: a Smoothing; top: types of LABO's distribution to
    show. Raises UserError.
    """

    device = chosen_device(cpu)
    (model,), task = load_models([path], data, device)
    if is_of_images(task) or getattr(settings_of(task), "lang_pairs", None):
        raise UserError(f"--path: {path}: must be a model of --task translation: an image has no position")
    source, target = _sentence(place, task)
    symbols = task.target_dictionary
    at = _position(place, target, symbols)
    # what fairseq makes of a single sentence, which needs no padding
    sample = {
        "src_tokens": source.unsqueeze(0).to(device),
        "src_lengths": torch.tensor([len(source)], device=device),
        "prev_output_tokens": target.roll(1).unsqueeze(0).to(device),
    }
    with torch.no_grad():
        logits = dense_logits(model, sample)[0, at].double().cpu()
    true = int(target[at])
    heading = f"{_shown(symbols, target[:at])} [{symbols[true]}] after {_shown(task.source_dictionary, source)}"
    return heading, _rows(logits, true, symbols, smoothing, top)


def _rows(logits, true, symbols, smoothing, top):

    alpha, tau = smoothing.label_smoothing, smoothing.smoothing_temperature
    best = targets.labo_distribution(logits, tau)
    mass = targets.labo_mass(logits, smoothing.rho)
    columns = {
        "model": torch.softmax(logits, 0),
        "one-hot": targets.one_hot(logits, true),
        f"label smoothing α={alpha:g}": targets.smoothed(logits, true, alpha, targets.uniform(logits)),
        f"LABO fixed α={alpha:g}": targets.smoothed(logits, true, alpha, best),
        f"LABO adaptive α={mass:.3f}": targets.smoothed(logits, true, mass, best),
    }
    types = list(dict.fromkeys([true, *best.topk(min(top, len(best))).indices.tolist()]))
    return {symbols[i]: {name: float(column[i]) for name, column in columns.items()} for i in types}


def _sentence(place, task):
    """Indices of source and target, both with EOS."""
    if place.sentence is None:
        return _encoded(place.source, task.source_dictionary, "--source"), _encoded(
            place.target, task.target_dictionary, "--target"
        )
    try:
        task.load_dataset(place.subset)
    except FileNotFoundError as error:
        raise UserError(f"--subset: {place.subset}: {error}: name a binarized subset of DATA") from None
    dataset = task.dataset(place.subset)
    if not 0 <= place.sentence < len(dataset):
        raise UserError(f"--sentence: {place.sentence}: {place.subset} has the sentences 0 to {len(dataset) - 1}")
    pair = dataset[place.sentence]
    return pair["source"], pair["target"]


def _encoded(text, dictionary, flag):
    words = text.split()
    if not words:
        raise UserError(f"{flag}: is empty: give a sentence")
    unknown = [word for word in words if word not in dictionary.indices]
    if unknown:
        raise UserError(f"{flag}: {' '.join(unknown)}: not in the dictionary: write tokens and subwords as in the data")
    return dictionary.encode_line(text, add_if_not_exist=False).long()


def _position(place, target, symbols):
    """The position in the target, from 0."""
    tokens = [symbols[i] for i in target.tolist()]
    if place.position is not None:
        if not 1 <= place.position <= len(tokens):
            raise UserError(f"--position: {place.position}: the target has {len(tokens)} tokens: {' '.join(tokens)}")
        return place.position - 1
    if place.token not in tokens:
        raise UserError(f"--token: {place.token}: not in the target: choose from {' '.join(dict.fromkeys(tokens))}")
    return tokens.index(place.token)


def _shown(dictionary, indices):
    return " ".join(dictionary[i] for i in indices.tolist() if i != dictionary.eos())
