"""The analysis layer needs files and sacreBLEU only; the command itself starts at once."""

import importlib.util
import subprocess
import sys
import time

from _analysis import ROOT, entry, finished_run, labo, prepared_corpus, write

BLOCKED = """
import sys
for name in ("torch", "fairseq"):
    sys.modules[name] = None  # import now raises ImportError
from labo_fairseq.cli import main
sys.exit(main())
"""


def test_score_and_table_run_without_torch_and_fairseq(tmp_path):
    log = write(tmp_path / "gen.txt", entry(0, "a b c d e", target="a b c d f"))
    result = labo("score", "--tokenized", "--system", f"s={log}", program=BLOCKED)
    assert result.returncode == 0, result.stderr
    result = labo("table", tmp_path, program=BLOCKED)
    assert result.returncode == 0, result.stderr


def test_every_analysis_runs_without_torch_and_fairseq(tmp_path):
    corpus = prepared_corpus(tmp_path / "data", number=20)
    runs = [finished_run(tmp_path / name, corpus, 0.3, seed) for seed, name in enumerate("ab", 1)]
    systems = [word for run in runs for word in ("--system", f"{run.name}={run}/generate-test.txt")]
    frequency = ("--dict", corpus / "bin/dict.de.txt", "--source", corpus / "bpe/test.de")
    reference = ("--reference", corpus / "raw/test.en")
    commands = {
        "splits": [*reference, *frequency, *systems],
        "confidence": [*frequency, *systems],
        "compare": [*reference, *systems],
    }
    if importlib.util.find_spec("matplotlib"):
        commands["report"] = [*runs, "--out", tmp_path / "out"]
    for name, arguments in commands.items():
        result = labo(name, *arguments, program=BLOCKED)
        assert result.returncode == 0, result.stderr


def seconds(*command):
    """Shortest of five runs, so that a busy machine does not count."""
    best = float("inf")
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, *command], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        best = min(best, time.perf_counter() - start)
    return best


def test_help_is_instant():
    # 0.3 s on an idle machine; a machine under load is slow for an empty program too
    assert seconds("-m", "labo_fairseq.cli", "--help") < max(0.3, 10 * seconds("-c", "pass"))


def test_help_of_each_subcommand_shows_an_example():
    for name in ("score", "splits", "confidence", "compare", "report", "table"):
        result = labo(name, "--help")
        assert result.returncode == 0 and f"labo {name} " in result.stdout.split("options:")[0]
