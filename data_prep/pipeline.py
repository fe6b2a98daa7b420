"""Runs the steps of `labo prepare` so that any of them may be interrupted: what is finished is not done again.

After each step the parameters, and the SHA-256 and line count of every file made so far, go to `.manifest.json`; when
all steps are done it becomes `manifest.json`. A step is finished if its files still have the recorded hashes; the first
that is not, and all after it, are made again. No file holds a time or a path, so equal runs give equal bytes.
"""

import contextlib
import fcntl
import importlib.metadata
import json
import os
import platform
import shutil

from .. import __version__
from ..errors import UserError
from ..files import sha256, write_aside
from .steps import STEPS, files_of
from .text import say

UNFINISHED, FINISHED = ".manifest.json", "manifest.json"


def prepare(job, parameters):
    """Run every step of `job` (a steps.Job) that is not finished.

    parameters: what identifies the content of job.out, as JSON. Raises UserError if the folder holds something else.
    """
    _refuse_foreign(job.out)
    job.out.mkdir(parents=True, exist_ok=True)
    with _lock(job.out):
        _sweep(job.out)
        manifest = _load(job.out, parameters)
        job.downloaded = manifest["downloads"]
        done = _finished(job, manifest["files"])
        if len(done) == len(job.steps) and (job.out / FINISHED).exists():
            say(f"{job.out}: prepared already, nothing to do")
            return
        if done:
            say(f"{job.out}: finished already: {', '.join(done)}")
        manifest["files"] = {name: entry for name, entry in manifest["files"].items() if entry["step"] in done}
        _save(job.out, manifest)
        (job.out / FINISHED).unlink(missing_ok=True)
        for step in job.steps[len(done) :]:
            _run(step, job, manifest)
        _count(job, manifest)
        _save(job.out, manifest)
        os.replace(job.out / UNFINISHED, job.out / FINISHED)


def _run(step, job, manifest):
    say(f"{job.out}: {step}")
    for folder in {"fetch": ["download"], "unpack": ["orig"]}.get(step, ["raw", "tok", "bpe"]):
        (job.out / folder).mkdir(exist_ok=True)
    facts = STEPS[step](job) or {}
    for name in files_of(step, job):
        manifest["files"][name] = {"step": step, **_describe(job.out / name)}
    manifest.update(facts)
    _save(job.out, manifest)


def _describe(path):
    facts = {"sha256": sha256(path)}
    if path.suffix not in (".bin", ".idx", ".gz", ".tgz", ".model"):
        with open(path, "rb") as stream:
            facts["lines"] = sum(1 for _ in stream)
    return facts


def _count(job, manifest):
    """Add the number of pairs of each part, and where they are not those that a paper gives."""
    manifest["pairs"] = {
        job.label(split, pair): manifest["files"][f"bpe/{job.label(split, pair)}.{pair[0]}"]["lines"]
        for split in job.corpus.splits
        for pair in job.pairs
    }
    manifest["published_pairs"] = {
        job.label(split, pair): count for pair in job.pairs for split, count in job.corpus.published(pair).items()
    }
    for label, published in manifest["published_pairs"].items():
        if manifest["pairs"][label] != published:
            say(f"{job.out}: {label}: {manifest['pairs'][label]} pairs, where Lu et al. (2023) give {published}")


def _finished(job, files):
    """The leading steps whose files are all there with the recorded hashes."""
    done = []
    for step in job.steps:
        mine = {name: entry for name, entry in files.items() if entry["step"] == step}
        if not mine or not all(is_as_recorded(job.out / name, entry) for name, entry in mine.items()):
            break
        done.append(step)
    return done


def is_as_recorded(path, entry):
    """Whether a file is there with the hash that its entry of the manifest holds."""
    return path.is_file() and sha256(path) == entry["sha256"]


def _load(out, parameters):
    path = next((out / name for name in (FINISHED, UNFINISHED) if (out / name).exists()), None)
    fresh = {**parameters, "tools": tools(), "downloads": {}, "files": {}}
    if path is None:
        return fresh
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        found = {key: manifest.get(key) for key in parameters}
        started, versions = bool(manifest["files"]), manifest["tools"]
        fresh["downloads"] = manifest["downloads"]  # the files are there still, and their hashes hold
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not a manifest of labo prepare: choose another --out") from error
    if started and found != parameters:
        key = next(key for key in parameters if found[key] != parameters[key])
        there, asked = (json.dumps(values[key], ensure_ascii=False) for values in (found, parameters))
        raise UserError(
            f"{out}: made with other parameters ({key}: {there} there, {asked} asked for): "
            "delete it or choose another --out"
        )
    if not started or (path.name == UNFINISHED and versions != tools()):
        return fresh  # the steps of two versions must not mix
    return manifest


def _save(out, manifest):
    with write_aside(out / UNFINISHED) as stream:
        json.dump(manifest, stream, indent=1, ensure_ascii=False)
        stream.write("\n")


def _refuse_foreign(out):
    if not out.exists() or (out / FINISHED).exists() or (out / UNFINISHED).exists():
        return
    foreign = sorted(path.name for path in out.iterdir() if path.name != ".lock" and path.suffix != ".part")
    if foreign:
        raise UserError(f"{out}: has files that labo prepare did not make ({foreign[0]}, say): choose another --out")


def _sweep(out):
    """Delete what a killed run left half-written; download/tmp* is pooch's."""
    for path in [*out.glob(".*.part"), *out.glob("*/.*.part"), *out.glob("download/tmp*")]:
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def _lock(out):
    """Hold the folder's lock. fairseq-preprocess inherits it, so that the orphan of a killed run is waited for."""
    descriptor = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o666)
    os.set_inheritable(descriptor, True)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{out}: waiting for another labo prepare in this folder")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def tools():
    """The versions of everything that has a say in the bytes."""
    versions = {"labo_fairseq": __version__, "python": platform.python_version()}
    for name in ("fairseq", "pooch", "regex", "sacremoses", "sentencepiece", "subword-nmt"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return versions
