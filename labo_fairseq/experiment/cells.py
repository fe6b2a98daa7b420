"""One cell, method × seed × direction: its folder, its status, and the argument lists of its steps.

All paths in the commands are relative to the experiment's folder, in which they run, so that the folder can be moved.
Beside what a run folder holds (analysis/run_folder.py) a cell has status.json, commands.txt (the steps, to copy and
paste), commands.json (the same as lists), versions.json, terminal.log and one log for each further step.
"""

import json
import shlex
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ..errors import UserError
from ..files import write_aside
from .spec import arguments, slug

# flags that may change between two runs of one cell: they say where things lie, not what is computed
PLACES = ("--user-dir",)
PACKAGE = str(Path(__file__).resolve().parents[1])


@dataclass
class Cell:
    """A cell of the table, or one candidate of a grid."""

    experiment: object
    direction: tuple
    method: object
    seed: int
    grid: dict = field(default_factory=dict)  #: the values of this candidate

    @property
    def name(self):
        """Path of its folder below the experiment's folder."""
        point = ",".join(f"{flag}={value}" for flag, value in self.grid.items())
        folder = slug(self.method.name) + (f".{slug(point)}" if point else "")
        return f"{'-'.join(self.direction)}/{folder}/seed{self.seed}"

    @property
    def data(self):
        """Folder of the prepared corpus, relative to the experiment's folder or absolute."""
        prepared = self.experiment.corpus.get("prepared")
        return str(Path(prepared).resolve()) if prepared else f"data/{'-'.join(self.direction)}"

    @property
    def checkpoint(self):
        """The checkpoint that is decoded."""
        kind = "average" if self.experiment.decode.average else "best"
        return f"{self.name}/checkpoints/checkpoint_{kind}.pt"

    def pair(self):
        """Flags that name the languages."""
        return ["--source-lang", self.direction[0], "--target-lang", self.direction[1]]

    def train(self, cpu):
        """fairseq-train."""
        metric = "loss" if self.method.flags["criterion"] == "cross_entropy" else "nll_loss"
        shared = {"best-checkpoint-metric": metric, **self.experiment.train}
        flags = {**shared, **self.method.flags, **self.grid}
        command = ["fairseq-train", f"{self.data}/bin", "--user-dir", PACKAGE, "--task", "translation", *self.pair()]
        command += arguments(flags)
        command += ["--seed", str(self.seed), "--save-dir", f"{self.name}/checkpoints"]
        command += ["--log-format", "json", "--log-file", f"{self.name}/train.log", "--distributed-world-size", "1"]
        return command + ["--cpu"] * cpu

    def average(self):
        """labo average, of the last epochs (or updates, where no checkpoints of epochs are kept)."""
        kind = "update" if self.experiment.train.get("no-epoch-checkpoints") else "epoch"
        number = ["--inputs", f"{self.name}/checkpoints", f"--num-{kind}-checkpoints"]
        return ["labo", "average", *number, str(self.experiment.decode.average), "--output", self.checkpoint]

    def calibrate(self, kind, cpu):
        """labo calibrate."""
        command = ["labo", "calibrate", f"{self.data}/bin", "--path", self.checkpoint, "--calibrator", kind]
        objective = self.experiment.decode.objective
        return [*command, "--objective", objective, "--out", f"{self.name}/calibration/{kind}"] + ["--cpu"] * cpu

    def sweep(self, cpu):
        """labo calibrate --sweep."""
        command = ["labo", "calibrate", f"{self.data}/bin", "--path", self.checkpoint, "--out", f"{self.name}/sweep"]
        return [*command, "--sweep", "--sweep-beam", str(self.experiment.decode.beam)] + ["--cpu"] * cpu

    def settings(self):
        """[(calibrator, length penalty)] to tune on validation data, for every method alike."""
        decode = self.experiment.decode
        return [(kind, lenpen) for kind in decode.calibrate for lenpen in decode.lenpen]

    def generate(self, subset, kind, lenpen, cpu):
        """fairseq-generate with one of the settings."""
        decode = self.experiment.decode
        task = ["--task", "translation"]
        if kind != "none":
            file = f"{self.name}/calibration/{kind}/calibration.json"
            task = ["--task", "calibrated_translation", "--calibration", file]
        command = ["fairseq-generate", f"{self.data}/bin", "--user-dir", PACKAGE, *task, *self.pair()]
        command += ["--path", self.checkpoint, "--gen-subset", subset, "--beam", str(decode.beam)]
        command += ["--lenpen", str(lenpen), "--max-tokens", str(decode.max_tokens), *decode.flags]
        return command + ["--cpu"] * cpu

    def decode_record(self):
        """The settings of decoding as JSON reads them."""
        return json.loads(json.dumps(asdict(self.experiment.decode)))

    def splits(self, subset, size, lowercase):
        """labo splits of the chosen translations of a subset."""
        source, target = self.direction
        command = ["labo", "splits", "--json", "--dict", f"{self.data}/bin/dict.{source}.txt"]
        command += ["--source", f"{self.data}/bpe/{subset}.{source}"]
        command += ["--reference", f"{self.data}/raw/{subset}.{target}"]
        command += ["--system", f"{slug(self.method.name)}={self.name}/generate-{subset}.txt"]
        return command + ([] if size == "equal" else ["--size", str(size)]) + ["--lowercase"] * lowercase


def prepare(experiment, direction, raw_dir=None):
    """labo prepare, of one direction; None where the corpus is prepared already."""
    if "prepared" in experiment.corpus:
        return None
    source, target = direction
    command = ["labo", "prepare", experiment.corpus["name"], "--source", source, "--target", target]
    command += ["--out", f"data/{source}-{target}", *(["--raw-dir", str(Path(raw_dir).resolve())] if raw_dir else [])]
    return command + arguments(experiment.corpus.get("prepare", {}))


def first_cells(experiment):
    """All cells that can start at once: those without a grid, and the candidates of the grids."""
    return [
        Cell(experiment, direction, method, seed, point)
        for direction in experiment.directions
        for seed in experiment.seeds
        for method in experiment.methods
        if not method.grid or seed == experiment.seeds[0]
        for point in method.candidates()
    ]


def later_cells(experiment, direction, method, point):
    """The other seeds of a method with a grid, once its point is chosen."""
    return [Cell(experiment, direction, method, seed, point) for seed in experiment.seeds[1:]]


def shown(command, output=None):
    """A command as a line for a shell."""
    return shlex.join(command) + (f" > {shlex.quote(output)}" if output else "")


class Foreign(UserError):
    """A folder that another experiment began."""


def claim(folder, cell, cpu):
    """Keep what a cell is in its folder. Raises Foreign where another one began the folder."""
    check_owner(folder, cell)
    for name, content in (("command.json", cell.train(cpu)), ("decode.json", cell.decode_record())):
        if not Path(folder, name).exists():
            write_json(Path(folder, name), content)


def check_owner(folder, cell):
    """Raises Foreign where another training, or the same one with another decoding, began the folder."""
    path, command = Path(folder, "command.json"), cell.train(cpu=True)
    if path.exists() and _settings(read_json(path)) != _settings(command):
        raise Foreign(f"{path}: belongs to another experiment: move the folder away or choose another --out")
    if not path.exists() and Path(folder, "checkpoints").exists():
        raise Foreign(f"{folder}/checkpoints: of an unknown experiment: move it away or choose another --out")
    path = Path(folder, "decode.json")
    if path.exists() and read_json(path) != cell.decode_record():
        raise Foreign(
            f"{path}: this cell was decoded with other settings: choose another --out, or remove this file and the "
            "cell's status.json, checkpoint_average.pt, calibration, valid, generate-*, sweep and splits-*"
        )


def read_json(path):
    """The content of a JSON file; None where it is missing or damaged."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def write_json(path, content):
    """Write a JSON file; it appears whole or not at all."""
    with write_aside(path) as stream:
        json.dump(content, stream, indent=1, ensure_ascii=False)
        stream.write("\n")


def _settings(command):
    """What a command computes: without the flags that only say where and on what device."""
    if not isinstance(command, list):
        return None
    places = {i + 1 for i, argument in enumerate(command) if argument in PLACES}
    return [argument for i, argument in enumerate(command) if i not in places and argument != "--cpu"]
