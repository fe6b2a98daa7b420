"""Where the time of a training step goes: shares by module and by kind of operation, from torch's profiler."""

import collections
import contextlib

from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function

from ..errors import UserError

# kinds of operations by the names that torch gives them; everything else is "other", mostly passes over tensors
KINDS = {
    "matrix products": ("mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_", "mkldnn_linear", "linear", "matmul"),
    "attention": (
        "_scaled_dot_product_flash_attention_for_cpu",
        "_scaled_dot_product_flash_attention_for_cpu_backward",
    ),
    "dropout": ("bernoulli_", "native_dropout", "native_dropout_backward"),
    "copies": ("copy_", "clone", "cat", "fill_", "zero_"),
}
COLUMNS = [*KINDS, "other"]
_SCOPE = "labo:"
_PLACES = {
    "self_attn": "attention",
    "encoder_attn": "attention",
    "fc1": "feed-forward",
    "fc2": "feed-forward",
    "embed_tokens": "embeddings",
    "embed_positions": "embeddings",
    "output_projection": "projection and loss",
}
LOSS, LAYERS, OPTIMIZER, BACKWARD = "projection and loss", "layers: rest", "optimizer", "backward: rest"


@contextlib.contextmanager
def marked(model: nn.Module):
    """Within it, what the model's modules compute bears the name of its place in the profile."""
    handles, open_scopes = [], []

    def enter(place):
        def hook(module, inputs):
            open_scopes.append(record_function(_SCOPE + place))
            open_scopes[-1].__enter__()

        return hook

    def leave(module, inputs, output):
        open_scopes.pop().__exit__(None, None, None)

    for name, module in model.named_modules():
        place = _place(name, module)
        if place:
            handles += [module.register_forward_pre_hook(enter(place)), module.register_forward_hook(leave)]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _place(name, module):
    if isinstance(module, nn.LayerNorm):
        return "layer norms"
    if name in ("encoder", "decoder"):
        return LAYERS
    return _PLACES.get(name.rpartition(".")[2])


def shares(step, model: nn.Module, repetitions: int) -> list:
    """Rows {module, share, and one for each of COLUMNS}, in percent of the time of all operations of some steps.

    step: function that does one training step, whose optimizer works under record_function(optimizer_scope())
    """
    step()  # chooses the path, which a hook on the projection would change
    with marked(model), profile(activities=[ProfilerActivity.CPU]) as found:
        for _ in range(repetitions):
            step()
    table = collections.defaultdict(collections.Counter)
    events = found.events()
    places = _forward_places(events)
    for event in events:
        table[_place_of(event, places)][_kind(event.name)] += event.self_cpu_time_total
    total = sum(sum(row.values()) for row in table.values())
    if not total:
        raise UserError("--profile: torch's profiler saw no operation: is its Kineto library missing?")
    rows = [
        {"module": place, "share": 100 * sum(row.values()) / total} | {k: 100 * row[k] / total for k in COLUMNS}
        for place, row in table.items()
    ]
    rows.sort(key=lambda row: -row["share"])
    return [*rows, {"module": "all"} | {key: sum(row[key] for row in rows) for key in ("share", *COLUMNS)}]


def optimizer_scope() -> str:
    """Name under which a step's optimizer works."""
    return _SCOPE + OPTIMIZER


def _kind(name):
    plain = name.removeprefix("aten::")
    return next((kind for kind, names in KINDS.items() if plain in names), "other")


def _ancestors(event):
    while event is not None:
        yield event
        event = event.cpu_parent


def _scope(event):
    for above in _ancestors(event):
        if above.name.startswith(_SCOPE):
            return above.name.removeprefix(_SCOPE)
    return None


def _is_backward(event):
    return any(above.name.startswith("autograd::engine") for above in _ancestors(event))


def _forward_places(events):
    """{sequence number: place} of the operations whose gradients the backward pass computes under the same number."""
    places = {}
    for event in events:
        if event.sequence_nr >= 0 and not _is_backward(event):
            places[event.sequence_nr] = _scope(event) or LOSS
    return places


def _place_of(event, places):
    scope = _scope(event)
    if scope is not None:
        return scope
    if not _is_backward(event):
        return LOSS
    numbers = (above.sequence_nr for above in _ancestors(event))
    return next((places[n] for n in numbers if n in places), BACKWARD)
