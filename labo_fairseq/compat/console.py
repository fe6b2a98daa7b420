"""F17: a user's mistake ends a fairseq command with one line and exit code 2, not with a traceback."""

import functools
import multiprocessing
import os
import signal
import sys
import threading

EXIT_CODE = 2
GO_ON = "checkpoints are whole: run the same command again to go on from the last one"


def one_line_errors(module):
    """F17: whatever a criterion or task of ours raises about a bad setting ends the command in a traceback."""
    command = "fairseq-" + module.__name__.rpartition(".")[2].replace("_", "-")
    module.cli_main = _reporting(module.cli_main, lambda: command)
    return True


def one_line_errors_of_hydra(module):
    """F17 for fairseq-hydra-train: hydra prints a traceback for any Exception, but lets SystemExit pass.

    Therefore the function within hydra's decorator is the one to wrap.
    """
    module._hydra_main = _reporting(module._hydra_main, lambda: "fairseq-hydra-train")
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
        except Exception as error:
            mistake = _mistake_behind(error)
            if mistake is not None:
                print(f"{command()}: {_one_line(mistake)}", file=sys.stderr)
                _leave(EXIT_CODE)
            if type(error).__name__ != "ProcessExitedException":
                raise
            if error.signal_name:
                print(
                    f"{command()}: rank {error.error_index} was killed ({error.signal_name}): {GO_ON}", file=sys.stderr
                )
            _leave(max(1, error.exit_code))  # otherwise that worker has told why

    return call


def _mistake_behind(error):
    """F24: a user's mistake that a model finds while its weights are loaded, as another number of classes.

    fairseq raises a bare Exception in its place, "Cannot load model parameters from checkpoint"; the mistake is that
    exception's context. None where no mistake of the user is behind the error.
    """
    if type(error) is Exception and error.__context__ is not None:
        error = error.__context__
    return error if getattr(error, "labo_user_error", False) else None


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
