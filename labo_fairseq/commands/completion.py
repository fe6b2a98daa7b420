"""Print the completion of `labo`, its subcommands and their flags for a shell. Needs the package shtab.

eval "$(labo completion bash)"                       # in ~/.bashrc
labo completion zsh > ~/.zfunc/_labo                 # a folder of $fpath
"""

import argparse

from .. import cli
from ..compat.install import install_command
from ..errors import UserError

SHELLS = ("bash", "zsh")
# what these take is a file or a folder
PATHS = {"FILE", "DIR", "LOG", "DATA", "DATA-BIN", "RUN", "CHECKPOINT", "CKPT", "PATH", "FILE.yaml", "MODEL"}


def add_arguments(parser):
    """The argument of `labo completion`."""
    parser.add_argument("shell", choices=SHELLS, help="the shell")


def run(args):
    """Print the script; returns 0."""
    try:
        import shtab
    except ModuleNotFoundError:
        raise UserError(f"shtab: is not installed: {install_command('shtab')}") from None
    print(shtab.complete(parser_of_all(), args.shell))
    return 0


def parser_of_all():
    """One parser with every subcommand below it, as shtab reads it."""
    parser = cli.Parser(prog="labo")
    parser.add_argument("--version", action="store_true", help="show versions")
    below = parser.add_subparsers(dest="subcommand")
    for subject in cli.SUBJECTS.values():
        for name, line in subject.items():
            module, _ = cli.command(name)
            sub = below.add_parser(name, help=line, description=line)
            module.add_arguments(sub)
            _complete_files(sub)
    return parser


def _complete_files(parser):
    import shtab

    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                _complete_files(sub)
        elif action.choices is None and action.metavar in PATHS:
            action.complete = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
