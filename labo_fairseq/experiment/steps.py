"""Carrying out the steps of one cell. Each step leaves a file that shows it is done, so that any can go on."""

import contextlib
import filecmp
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

from ..analysis import bleu, systems
from ..analysis.references import of_corpus
from ..analysis.runs import read_run, versions
from ..errors import UserError
from ..fairseq_models import averaging
from ..files import write_aside
from ..progress import tell, tell_step
from ..records.run_folder import corpus_at
from . import cells, recipe

STOPPED = "stopped"


class StepError(Exception):
    """A step that failed: `state` is failed, diverged or stopped; the message is one line."""

    def __init__(self, state, message):
        super().__init__(message)
        self.state = state


class Runner:
    """Runs the cells of one experiment in its folder `out`. Safe to use from several threads."""

    def __init__(self, out, cpu, lock=None, threads=None):
        self.out = Path(out)
        self.cpu = cpu
        self.threads = threads  #: of each step of a cell; None leaves torch's choice
        self._lock = lock
        self._stopping = threading.Event()
        self._processes = set()

    def stop(self):
        """End all processes; running cells become `stopped`."""
        self._stopping.set()
        for process in list(self._processes):
            with contextlib.suppress(OSError):
                process.terminate()

    def prepare(self, experiment, directions, raw_dir):
        """Prepare the corpus of the directions of one training. Raises StepError."""
        command = cells.prepare(experiment, directions, raw_dir)
        if command:
            (self.out / "data").mkdir(parents=True, exist_ok=True)
            self._call(command, self.out / f"data/{cells.label(directions)}.log", shared=False)

    def run(self, cell, gpu=None, report=lambda fraction: None):
        """Carry out what is missing of a cell; returns its status, which stands in status.json too. Never raises."""
        folder = self.out / cell.name
        begun = time.time()
        status = {"state": "running", "step": "train", "gpu": gpu, "pid": os.getpid()}
        try:
            folder.mkdir(parents=True, exist_ok=True)
            before = cells.read_status(folder) or {}
            note = cells.claim(folder, cell, self.cpu)
            if before.get("state") == "diverged":  # it would again
                return before
            if before.get("state") == "done" and all(part.is_complete(self.out) for part in cell.all_parts):
                return before
            if note:
                tell(note)
            status["seconds"] = before.get("seconds", 0)
            _Steps(self, cell, folder, gpu, status, report).run()
            status.update(state="done", step=None)
        except StepError as error:
            status.update(state=error.state, message=str(error))
        except cells.Foreign as error:
            return {"state": "failed", "message": str(error)}  # nothing is written into a folder that is not ours
        except UserError as error:
            status.update(state="failed", message=str(error))
        except OSError as error:
            status.update(state="failed", message=f"{error.filename or folder}: {error.strerror or error}")
        status["seconds"] = round(status.get("seconds", 0) + time.time() - begun, 1)
        with contextlib.suppress(OSError):  # no space left: what is returned still says so
            cells.write_json(folder / "status.json", status)
        return status

    def _call(self, command, log, output=None, gpu=None, report=None, shared=True):
        """Run a command of a step; shared: others run beside it, so that it gets its share of the cores.

        Raises StepError where it fails.
        """
        if self._stopping.is_set():
            raise StepError(STOPPED, "stopped: run the experiment again, it goes on here")
        env = _environment(gpu, self.threads if shared else None)
        options = {"cwd": self.out, "env": env, "pass_fds": [self._lock] if self._lock else []}
        if report:
            code = recipe.follow(command, log, report, self._register, **options)
            if code:
                raise self._failure(command, log, code)
            return
        with (
            open(log, "a", encoding="utf-8") as errors,
            _sink(output, errors) as stream,
            subprocess.Popen(command, stdout=stream, stderr=errors, **options) as process,
        ):
            with self._known(process):
                code = process.wait()
            if code:  # inside, so that the output does not get its name
                raise self._failure(command, log, code)

    def _register(self, process):
        """Let `stop` end a process, at once where it has been called already."""
        self._processes.add(process)
        if self._stopping.is_set():
            process.terminate()

    @contextlib.contextmanager
    def _known(self, process):
        """Let `stop` end a process."""
        self._register(process)
        try:
            yield
        finally:
            self._processes.discard(process)

    def _failure(self, command, log, code):
        if self._stopping.is_set():
            return StepError(STOPPED, "stopped: run the experiment again, it goes on here")
        lines = Path(log).read_text(encoding="utf-8", errors="replace").splitlines()[-40:]
        last = next((line for line in reversed(lines) if line.strip()), "no output")
        state = "diverged" if any("FloatingPointError" in line for line in lines) else "failed"
        name = command[0] if command[0] != "labo" else " ".join(command[:2])
        return StepError(state, f"{name} ended with exit code {code}: {last.strip()[:300]} (all of it in {log})")


class _Steps:
    """The steps of one cell, in their order."""

    def __init__(self, runner, cell, folder, gpu, status, report):
        self.runner, self.cell, self.folder = runner, cell, folder
        self.gpu, self.status, self.report = gpu, status, report

    def run(self):
        decode = self.cell.experiment.decode
        self._begin()
        self._train()
        if "average" in decode.checkpoints:
            made = self._inside(f"{self.cell.name}/checkpoints/checkpoint_average.pt")
            self._step("average", self.cell.average(), made)
        best = {}
        for part in self.cell.all_parts:
            if self.cell.experiment.images:
                self._classify(part)
                continue
            if part.measures_curve:
                best[part.direction] = self._curve(part)
            if part.kind == "best-bleu":
                self._step("best-bleu", part.link(best[part.direction]), self._inside(part.checkpoint))
            self._decode(part)

    def _classify(self, part):
        """All that follows the training of an image classifier."""
        folder = self._inside(part.name)
        made = folder / "calibration" / "temperature" / "calibration.json"
        self._step("calibrate", part.calibrate_images(self.runner.cpu), made)
        self._step("classify", part.classify(self.runner.cpu), self._inside(part.result), captured=True)
        ((measured,),) = cells.read_json(self._inside(part.result))["systems"].values()
        valid = cells.read_json(made)["measures"]["before"]["all"]
        self.status["valid"] = {"accuracy": 100 * valid["accuracy"]}
        self.status["test"] = {**measured, "accuracy": 100 * measured["accuracy"]}
        self._keep_training(read_run(folder))

    def _decode(self, part):
        """All that follows the training, for one direction."""
        decode, folder = self.cell.experiment.decode, self._inside(part.name)
        self._begin_part(part, folder)
        for kind in decode.calibrate:
            if kind != "none":
                made = folder / "calibration" / kind / "calibration.json"
                self._step("calibrate", part.calibrate(kind, self.runner.cpu), made)
        kind, lenpen = self._tune(part, folder)
        _keep_reliability(folder, kind)
        self._generate(part, "test", kind, lenpen, folder / "generate-test.txt")
        if decode.ece:
            self._step("ece", part.measure(self.runner.cpu), folder / "ece" / "calibration.json")
        if decode.sweep:
            self._step("sweep", part.sweep(self.runner.cpu), folder / "sweep" / "temperatures.tsv")
        for subset, size in decode.splits:
            command = part.splits(subset, size, self._corpus(part).lowercase)
            self._step("splits", command, folder / f"splits-{subset}.json", captured=True)
        self._score(part, folder)

    def _begin(self):
        for part in self.cell.all_parts:
            folder = self._inside(part.name)
            folder.mkdir(parents=True, exist_ok=True)
            with write_aside(folder / "data") as stream:
                stream.write(os.path.relpath(self._inside(self.cell.data), folder) + "\n")
                if self.cell.experiment.multilingual:
                    stream.write("-".join(part.direction) + "\n")
        cells.write_json(self.folder / "versions.json", {**versions(), "git": git_revision(), "python": sys.version})

    def _begin_part(self, part, folder):
        """Give the run folder of a direction what it shares with the others."""
        if folder != self.folder:
            for name in ("command.json", "train.log"):
                _copy(self.folder / name, folder / name)

    def _inside(self, path):
        return self.runner.out / path

    def _corpus(self, part):
        return corpus_at(self._inside(self.cell.data), "-".join(part.direction))

    def _step(self, name, command, made, captured=False):
        """Run a command unless `made` is there; captured: `made` is its standard output."""
        output = str(made.relative_to(self.runner.out)) if captured else None
        self._record(name, command, output)
        if not made.exists():
            self.runner._call(command, self.folder / f"{name}.log", made if captured else None, self.gpu)

    def _record(self, name, command, output=None):
        """Keep the commands so far, and say what is running."""
        known = cells.read_json(self.folder / "commands.json") or []
        entry = {"step": name, "command": command, "output": output}
        if entry not in known:
            known = [*known, entry]
        cells.write_json(self.folder / "commands.json", known)
        with write_aside(self.folder / "commands.txt") as stream:
            stream.write(f"# in {self.runner.out.resolve()}\n")
            stream.writelines(cells.shown(e["command"], e["output"]) + "\n" for e in known)
        self.status["step"] = name
        tell_step(f"{self.cell.name}: {name}")
        cells.write_json(self.folder / "status.json", self.status)

    def _train(self):
        command = self.cell.train(self.runner.cpu)
        self._record("train", command)
        if recipe.has_finished(self.folder / "train.log"):
            return
        goals = {flag: float(self.cell.experiment.train.get(flag) or 0) for flag in ("max-update", "max-epoch")}
        diverged = []

        def follow(process, kind, values):
            loss = values.get("loss")
            # parse_line gives None for "nan" only where it is no number at all
            if loss is not None and not math.isfinite(loss) and not diverged:
                diverged.append(f"loss {loss} at update {values.get('num_updates') or 0:.0f} ({kind})")
                process.terminate()
            done = [values.get("num_updates") or 0, values.get("epoch") or 0]
            shares = [n / goal for n, goal in zip(done, goals.values(), strict=True) if goal]
            share = min(1.0, max(shares, default=0.0))
            self.report(share)
            if kind != "train_inner":
                tell_step(f"{self.cell.name}: train: {share:.0%}")

        log = self.folder / "terminal.log"
        try:
            self.runner._call(command, log, gpu=self.gpu, report=follow)
        except StepError as error:
            if diverged:
                raise StepError("diverged", f"{diverged[0]}: lower the learning rate ({log})") from error
            raise
        if diverged:
            raise StepError("diverged", f"{diverged[0]}: lower the learning rate ({log})")

    def _curve(self, part):
        """Score kept checkpoints on validation data, with length penalty 1 and no calibration; keeps curve.json.

        Returns the name of the best one of all, the earliest of equal ones; None where only updates were asked for.
        """
        folder = self._inside(part.name)
        (folder / "curve").mkdir(exist_ok=True)
        at_updates = kept_checkpoints(self._inside(f"{self.cell.name}/checkpoints"), folder / "curve")
        wanted = [name for name, updates in at_updates.items() if part.curve["all"] or updates in part.curve["updates"]]
        scores = {}
        for name in wanted:
            file = folder / "curve" / f"{Path(name).stem}.txt"
            path = f"{self.cell.name}/checkpoints/{name}"
            command = part.generate("valid", "none", 1, self.runner.cpu, path)
            self._step("generate-valid", command, file, captured=True)
            scores[name] = self._bleu_on_valid(part, file)
        if part.curve["all"] and not scores:
            raise StepError("failed", "best-bleu: no checkpoint was kept: give `keep-last-epochs` or others in `train`")
        points = [[updates, scores[name]] for name, updates in at_updates.items() if updates in part.curve["updates"]]
        record = {"asked": part.curve, "points": points, "scores": scores}
        cells.write_json(folder / "curve.json", record)
        part.scores(self.status)["curve"] = points
        return max(scores, key=scores.get) if part.curve["all"] else None

    def _bleu_on_valid(self, part, file):
        """BLEU of a translation of the validation data."""
        corpus = self._corpus(part)
        references, tokenize = of_corpus(corpus, part="valid")
        system = systems.read_system(part.name, str(file))
        lines = systems.texts(system, references.first, references.name)
        return bleu.corpus_bleu(lines, references.first, corpus.lowercase, tokenize).value

    def _tune(self, part, folder):
        """The setting with the highest BLEU on validation data, the first of equal ones; kept in tuning.json."""
        scored = []
        for kind, lenpen in self.cell.settings():
            file = f"valid/{kind}.lenpen{lenpen}.txt"
            (folder / "valid").mkdir(exist_ok=True)
            self._generate(part, "valid", kind, lenpen, folder / file)
            score = self._bleu_on_valid(part, folder / file)
            scored.append({"calibrate": kind, "lenpen": lenpen, "bleu": score, "file": file})
        best = max(scored, key=lambda one: one["bleu"])
        cells.write_json(folder / "tuning.json", {"chosen": best, "all": scored})
        _copy(folder / best["file"], folder / "generate-valid.txt")
        part.scores(self.status)["valid"] = best
        return best["calibrate"], best["lenpen"]

    def _generate(self, part, subset, kind, lenpen, file):
        command = part.generate(subset, kind, lenpen, self.runner.cpu)
        self._step(f"generate-{subset}", command, file, captured=True)

    def _score(self, part, folder):
        run = read_run(folder)
        if run.bleu is None:
            raise StepError("failed", f"not scored: {run.status}")
        scores = part.scores(self.status)
        scores["bleu"] = vars(run.bleu)
        measured = cells.read_json(folder / "ece" / "calibration.json")
        if measured:
            groups = {name: rows["all"] for name, rows in measured["measures"].items() if name != "warnings"}
            scores["ece"] = {name: {key: row[key] for key in ("ece", "nll")} for name, row in groups.items()}
        self._keep_training(run)

    def _keep_training(self, run):
        self.status.update(updates=run.updates, minutes=run.minutes)
        self.status.update(perplexity=run.perplexity, share_under_p_star=run.share_under_p_star)


def _keep_reliability(folder, kind):
    made = folder / "calibration" / kind / "reliability.tsv"
    if made.exists():  # where the report looks for it
        _copy(made, folder / "reliability.tsv")


def git_revision():
    """The commit of this package's checkout, with "+" where files differ from it; None outside of one."""
    try:
        where = ["git", "-C", cells.PACKAGE]
        head = subprocess.run([*where, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run([*where, "status", "--porcelain", "-uno"], capture_output=True, text=True).stdout
        return head + "+" * bool(changed.strip())
    except (OSError, subprocess.CalledProcessError):
        return None


def kept_checkpoints(folder, scored):
    """{file name: updates, None for the end of an epoch} of a training's checkpoints, those of epochs first.

    scored: folder of translations, named after checkpoints that may have been removed since. The one that is best by
    likelihood is there once, under whichever other name it has.
    """
    names = {path.name for path in folder.glob("checkpoint*.pt")} | {f"{path.stem}.pt" for path in scored.glob("*.txt")}
    found = []
    for name in names:
        for kind, pattern in averaging.NAMES.items():
            match = pattern.fullmatch(name)
            if match:
                found.append((kind, int(match[1]), name))
    kept = {name: number if kind == "update" else None for kind, number, name in sorted(found)}
    best = folder / "checkpoint_best.pt"
    if best.name in names and not any(_same_file(best, folder / name) for name in kept):
        kept[best.name] = None
    return kept


def _same_file(one, other):
    return one.exists() and other.exists() and filecmp.cmp(one, other, shallow=False)


def _environment(gpu, threads=None):
    """This Python's commands first, only the cell's device visible, and its share of the cores.

    A number of threads that the user has set stays.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    share = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    device = {} if gpu is None else {"CUDA_VISIBLE_DEVICES": str(gpu)}
    return {**share, **os.environ, "PATH": path, **device}


def _sink(output, log):
    """Where standard output goes: to a file that appears when it is whole, or to the log."""
    return write_aside(output) if output else contextlib.nullcontext(log)


def _copy(source, target):
    with open(source, "rb") as stream, write_aside(target, "wb") as copy:
        shutil.copyfileobj(stream, copy)
