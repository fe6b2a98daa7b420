"""F17: a user's mistake ends a fairseq command with one line and exit code 2, not with a traceback."""

import errno
import functools
import itertools
import logging
import multiprocessing
import os
import signal
import sys
import threading
import traceback

from .command_line import forgotten, is_about_flags
from .errors import UserError

EXIT_CODE = 2
# a command of these that cannot write has done nothing; the others leave files
RESULTS_ON_STDOUT = ("fairseq-eval-lm", "fairseq-generate", "fairseq-interactive", "fairseq-score")
GO_ON = "checkpoints are whole: run the same command again to go on from the last one"


def one_line_errors(module):
    """F17: whatever a criterion or task of ours raises about a bad setting ends the command in a traceback."""
    command = "fairseq-" + module.__name__.rpartition(".")[2].replace("_", "-")
    module.cli_main = _reporting(_writing(module.cli_main, lambda: command), lambda: command)
    return True


def one_line_errors_of_hydra(module):
    """F17 for fairseq-hydra-train: hydra prints a traceback for any Exception, but lets SystemExit pass.

    Therefore the function within hydra's decorator is the one to wrap.
    """
    for name in ("_hydra_main", "cli_main"):  # the plugin is imported before hydra begins
        setattr(module, name, _reporting(getattr(module, name), lambda: "fairseq-hydra-train"))
    return True


def one_line_errors_in_workers(module):
    """F17 for the processes that fairseq starts, one for each GPU: torch would wrap their exceptions in a traceback.

    The worker prints the line and ends with the exit code, which the starting process passes on.
    """
    module.distributed_main = _reporting(module.distributed_main, lambda: os.path.basename(sys.argv[0]))
    return True


def _reporting(function, command):
    @functools.wraps(function)
    def call(*args, **kwargs):
        try:
            return function(*args, **kwargs)
        except KeyboardInterrupt:
            _say(command, f"interrupted{f': {GO_ON}' if command().endswith('train') else ''}")
            _leave(128 + signal.SIGINT)
        except Exception as error:
            if os.environ.get("LABO_FAIRSEQ_TRACEBACK") == "1":
                traceback.print_exception(error)
            mistake = _mistake_behind(error)
            if mistake is not None:
                _say(command, _one_line(mistake))
                _leave(EXIT_CODE)
            if isinstance(error, BrokenPipeError):
                _leave(128 + signal.SIGPIPE)  # the reader, as head or less, has gone: no news for anybody
            if isinstance(error, OSError) and (line := _line_of(error)):
                _say(command, line)
                _leave(EXIT_CODE)
            if type(error).__name__ != "ProcessExitedException":
                raise
            if error.signal_name:
                _say(command, f"rank {error.error_index} was killed ({error.signal_name}): {GO_ON}")
            _leave(max(1, error.exit_code))  # otherwise that worker has told why

    return call


def _writing(function, command):
    """Refuse to compute what nobody will see; end with an error where it could not be written."""

    @functools.wraps(function)
    def call(*args, **kwargs):
        results = command() in RESULTS_ON_STDOUT and "--results-path" not in sys.argv
        if sys.stdout is None:
            if results:
                raise UserError("standard output is closed: the results would be lost: send them to a file or a pipe")
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)
        returned = function(*args, **kwargs)
        if results:
            sys.stdout.flush()
        _drop_what_cannot_be_written()
        return returned

    return call


def say_once_that_a_log_is_lost(module):
    """F35: `fairseq-train > LOG` on a full disk, or into a pipe that was closed: a traceback for each line of the log.

    The training goes on. What prints its results there too ends with one line.
    """
    command = os.path.basename(sys.argv[0])
    if not command.startswith("fairseq-"):
        return False
    original, said = logging.Handler.handleError, []

    @functools.wraps(original)
    def handle_error(handler, record):
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            return original(handler, record)
        if command in RESULTS_ON_STDOUT and getattr(handler, "stream", None) is sys.stdout:
            raise error
        if not said:
            said.append(error)
            _say(lambda: command, f"the log cannot be written any more ({error.strerror}): the command goes on")

    logging.Handler.handleError = handle_error
    return True


def _drop_what_cannot_be_written():
    # otherwise Python's shutdown tries again, complains, and ends with 120
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line_of(error):
    """One line about a file or a disk; None for other errors of the system, as those of a network."""
    if error.filename is not None and error.strerror:
        path = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else str(error.filename)
        return f"{_flag_of(path)}{path}: {error.strerror}: give another place, or mend this one"
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{error.strerror}: make room, then run again"
    return None


def _flag_of(path):
    # the path that an error names may be the absolute one of what the user gave
    for flag, value in itertools.pairwise(sys.argv):
        if flag.startswith("--") and os.path.abspath(value) == os.path.abspath(path):
            return f"{flag}: "
    return ""


def _say(command, line):
    print(f"{command()}: {line}", file=sys.stderr)


def _mistake_behind(error):
    """F24: a user's mistake that a model finds while its weights are loaded, as another number of classes.

    fairseq raises a bare Exception in its place, "Cannot load model parameters from checkpoint"; the mistake is that
    exception's context. None where no mistake of the user is behind the error.
    """
    if type(error) is Exception and error.__context__ is not None:
        error = error.__context__
    if getattr(error, "labo_user_error", False) or is_about_flags(error):
        return error
    line = forgotten(error) if type(error) in (Exception, KeyError, ValueError) else None
    return UserError(line) if line else None


def _one_line(mistake):
    """F25: a mistake found by a process that loads data, as a damaged image file.

    torch raises it again in the main process, with the text of the traceback as its message, whose last line is
    "module.Class: message".
    """
    text = str(mistake)
    if not text.startswith("Caught "):
        return text
    return text.rstrip().splitlines()[-1].partition(f"{type(mistake).__name__}: ")[2]


def _leave(code):
    """Exit with this code, also out of the training loop, where fairseq's threads still fetch batches.

    Python's shutdown under such a thread can end in abort() ("terminate called without an active exception"). Any other
    thread, a progress bar's for example, is no reason to leave without Python's shutdown.
    """
    if sys.stdout is not None:
        _drop_what_cannot_be_written()
    if any(type(thread).__name__ == "BackgroundConsumer" for thread in threading.enumerate()):
        sys.stdout.flush()
        sys.stderr.flush()
        _end_data_workers()
        os._exit(code)
    sys.exit(code)


def _end_data_workers():
    """Otherwise one that hands over a batch just then prints a traceback, ConnectionResetError, after the line."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # torch's handler would raise an error about a killed worker
    for worker in multiprocessing.active_children():
        worker.kill()
