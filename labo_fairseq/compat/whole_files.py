"""F16: checkpoints that appear under their name only when they are whole."""

import contextlib
import functools
import glob
import inspect
import os
import shutil

from .errors import UserError

PART = ".tmp"


def save_whole_files(module):
    """F16: fairseq renames a new checkpoint without fsync, retries into a half-written file and leaves its .tmp behind.

    After a power cut the name may stand for an empty file; with a full disk the part file keeps the disk full.
    """
    original = module.torch_persistent_save
    if "fsync" in inspect.getsource(original):
        return False

    @functools.wraps(original)
    def torch_persistent_save(obj, filename, async_write=False):
        if async_write or not isinstance(filename, str) or not module.PathManager.supports_rename(filename):
            return original(obj, filename, async_write)
        with _written_aside(filename) as stream:
            module.torch.save(obj, stream)

    module.torch_persistent_save = torch_persistent_save
    return True


def copy_whole_files(module):
    """F16: checkpoint_last.pt is a copy made in place, so a kill meanwhile leaves a part of it, and no resume works."""
    manager = module.PathManager
    original = manager.copy
    if "rename" in inspect.getsource(original):
        return False

    @functools.wraps(original)
    def copy(src_path, dst_path, overwrite=False):
        if not manager.supports_rename(src_path) or not manager.supports_rename(dst_path):
            return original(src_path, dst_path, overwrite)
        with open(src_path, "rb") as source, _written_aside(dst_path) as stream:
            shutil.copyfileobj(source, stream, 1 << 20)
        return dst_path  # as shutil.copyfile, which fairseq calls; the caller asserts that it is true

    manager.copy = staticmethod(copy)
    return True


def explain_unwritable_folders(module):
    """F35: `--save-dir` is a file, read-only, or on a full disk: a traceback. Part files of a killed run stay for good.

    Only the first process asks, before anything is trained. No other training may write into the same folder, so that
    a part file in it is nobody's.
    """
    original = module.verify_checkpoint_directory

    @functools.wraps(original)
    def verify_checkpoint_directory(save_dir):
        try:
            original(save_dir)
        except OSError as error:
            raise UserError(
                f"--save-dir: {save_dir}: {error.strerror or error}: give a folder that can be written"
            ) from error
        for part in glob.glob(os.path.join(glob.escape(save_dir), f"checkpoint*.pt{PART}")):
            with contextlib.suppress(OSError):
                os.unlink(part)

    module.verify_checkpoint_directory = verify_checkpoint_directory
    return True


@contextlib.contextmanager
def _written_aside(path):
    """A file that takes the name `path` once it is whole and on the disk.

    The name of the part file is fixed, so that a killed run's is overwritten by the next one. labo_fairseq.files has
    the like for text; it cannot be imported from here (see __init__.py).
    """
    part = f"{path}{PART}"
    try:
        with open(part, "wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(part)
        cause = _os_error(error)
        if cause is None:
            raise
        raise UserError(
            f"cannot write the checkpoint ({cause.strerror}): {path}: "
            "make room or give another --save-dir, then run again; the checkpoints written before are whole"
        ) from error


def _os_error(error):
    # torch raises its own error about the half-written archive on top of the one that says why
    while error is not None and not isinstance(error, OSError):
        error = error.__cause__ or error.__context__
    return error
