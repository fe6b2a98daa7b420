"""What works in this environment, found by trying, as one JSON object on standard output.

A process of its own, so that `labo doctor` survives whatever breaks in here: python -m labo_fairseq.compat.probe
"""

import importlib
import json
import sys

COMMANDS = ("preprocess", "train", "validate", "generate", "interactive", "score", "eval_lm", "hydra_train")
# compiled when fairseq was installed; imported by fairseq only when a batch or a score is computed
EXTENSIONS = ("fairseq.data.data_utils_fast", "fairseq.data.token_block_utils_fast", "fairseq.libbleu")


def main():
    """Print {"commands": {...}, "extensions": {...}: null or the error, "mends": [...], "gpus": [...] or null}."""
    commands = {f"fairseq-{name.replace('_', '-')}": _error_of(f"fairseq_cli.{name}") for name in COMMANDS}
    extensions = {name: _error_of(name) for name in EXTENSIONS}
    print(json.dumps({"commands": commands, "extensions": extensions, "mends": _mends(), "gpus": _gpus()}))


def _error_of(module_name):
    try:
        spec = importlib.util.find_spec(module_name)
        if spec is None:
            raise ModuleNotFoundError(f"No module named {module_name!r}")
        if module_name != "fairseq.libbleu":  # a plain library that fairseq opens by its path
            importlib.import_module(module_name)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def _mends():
    # the copy that the hook loaded under its private name, which is the one that ran
    loader = sys.modules.get("_labo_fairseq_compat.loader")
    if loader is None:
        return []
    states = {}
    for (module, mend), outcome in loader.outcomes.items():
        row = {"mend": mend, "outcome": outcome, "failure": _failure(loader, module, mend), "modules": []}
        states.setdefault((mend, outcome), row)["modules"].append(module)
    return list(states.values())


def _failure(loader, module, name):
    mends = [*loader.SOURCE_MENDS.get(module, ()), *loader.MODULE_MENDS.get(module, ())]
    return next(mend.__doc__.splitlines()[0] for mend in mends if mend.__name__ == name)


def _gpus():
    try:
        import torch
    except Exception:
        return None
    devices = [torch.cuda.get_device_properties(index) for index in range(torch.cuda.device_count())]
    return [f"{device.name}, {device.total_memory / 2**30:.0f} GiB" for device in devices]


if __name__ == "__main__":
    main()
