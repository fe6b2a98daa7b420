"""What fairseq-hydra-train reads before it trains: the plugin, and settings that are wrong."""

import contextlib
import difflib
import functools
import os
import re
import sys
from argparse import Namespace

from .command_line import PLUGIN, remedy

ADD_USER_DIR = f"add common.user_dir={PLUGIN}"
_OVERRIDE = re.compile(r"Could not override '(.*?)'")
_NO_CHOICE = re.compile(r"Could not find '(\w+)/(.*?)'")


def import_user_dir_before_composition(module):
    """F45: `fairseq-hydra-train criterion=labo common.user_dir=…`: `Could not find 'criterion/labo'`.

    fairseq imports the plugin when the configuration is composed already; only `criterion._name=labo`, which nobody
    checks, got through. Here the folder is read from the command line, or from the file of --config-dir and
    --config-name, and imported first.
    """
    original = module.hydra_init

    @functools.wraps(original)
    def hydra_init(*args, **kwargs):
        folder = _user_dir(sys.argv[1:])
        if folder:
            from fairseq.utils import import_user_module

            import_user_module(Namespace(user_dir=folder))
        return original(*args, **kwargs)

    module.hydra_init = hydra_init
    return True


def _user_dir(arguments):
    for argument in reversed(arguments):
        key, equals, value = argument.partition("=")
        if equals and key.lstrip("+") == "common.user_dir":
            return value.strip("'\"")
    from hydra._internal.utils import get_args_parser

    with contextlib.suppress(SystemExit, OSError, ValueError, AttributeError, TypeError):
        args, _ = get_args_parser().parse_known_args(arguments)
        name = os.path.join(args.config_dir or args.config_path or "", args.config_name or "config")
        return _of_file(name if name.endswith((".yaml", ".yml")) else name + ".yaml")
    return None


def _of_file(path):
    import yaml

    try:
        with open(path, encoding="utf-8") as stream:
            return (yaml.safe_load(stream) or {})["common"]["user_dir"]
    except (KeyError, yaml.YAMLError):
        return None  # hydra tells what is wrong with the file


def one_line_for_wrong_settings(module):
    """F46: a key with a typo under fairseq-hydra-train: ten lines, and exit code 1.

    hydra prints its exceptions by itself, so its function that does is the one to wrap.
    """
    from hydra._internal import utils
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    original = utils.run_and_report

    @functools.wraps(original)
    def run_and_report(function):
        try:
            return function()
        except (HydraException, OmegaConfBaseException) as error:
            if os.environ.get("HYDRA_FULL_ERROR") == "1":
                raise
            print(f"fairseq-hydra-train: {explain(error)}", file=sys.stderr)
            sys.exit(2)
        except Exception as error:
            caught = error

        def fail():
            raise caught

        return original(fail)

    utils.run_and_report = run_and_report
    return True


def explain(error):
    """An exception of hydra in one line, with what to do about it."""
    text = str(error)
    override, choice = _OVERRIDE.search(text), _NO_CHOICE.search(text)
    if choice:
        kind, given = choice.groups()
        return f"{kind}={given}: " + remedy(kind, given, _listed(text), ADD_USER_DIR)
    if override:
        near = difflib.get_close_matches(override[1], _settings(), 1)
        return f"{override[1]}: no such setting: " + (
            f"did you mean {near[0]}?" if near else "--cfg job shows all settings; +NAME=VALUE adds one"
        )
    cause = f" ({_first_line(error.__cause__)})" if error.__cause__ and str(error.__cause__) not in text else ""
    return f"{_first_line(error)}{cause}: --cfg job shows all settings"


def _first_line(error):
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0].rstrip(".:") if lines else type(error).__name__


def _listed(text):
    """The names below hydra's `Available options in 'criterion':`."""
    return [line.strip() for line in text.partition("Available options")[2].splitlines()[1:] if line.startswith("\t")]


def _settings():
    """Names of all settings that fairseq knows without the choice of a model, task or criterion."""
    from fairseq.dataclass.configs import FairseqConfig

    sections = FairseqConfig.__dataclass_fields__
    fields = {name: getattr(section.type, "__dataclass_fields__", {}) for name, section in sections.items()}
    return [f"{section}.{name}" for section, names in fields.items() for name in names if not name.startswith("_")]
