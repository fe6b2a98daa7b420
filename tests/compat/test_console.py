"""F17: a user's mistake that our code finds ends a fairseq command with one line and exit code 2."""

import queue
import socket
import threading

import pytest
from fairseq.data.iterators import BackgroundConsumer

from labo_fairseq.compat import console
from labo_fairseq.errors import UserError

PLUGIN = """
from fairseq.criterions import register_criterion
from fairseq.criterions.cross_entropy import CrossEntropyCriterion, CrossEntropyCriterionConfig
from labo_fairseq.errors import UserError

@register_criterion("failing", dataclass=CrossEntropyCriterionConfig)
class Failing(CrossEntropyCriterion):
    def forward(self, model, sample, reduce=True):
        raise UserError("rho must lie in [0, 1]: --rho 2: give another")
"""
MISTAKE = "rho must lie in [0, 1]: --rho 2: give another"


@pytest.fixture(scope="module")
def failing(tmp_path_factory):
    """Arguments that choose a criterion which finds a mistake in the first update."""
    folder = tmp_path_factory.mktemp("plugin") / "failing_plugin"
    folder.mkdir()
    (folder / "__init__.py").write_text(PLUGIN)
    return ["--user-dir", folder, "--criterion", "failing"]


def assert_one_line(done, command):
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1] == f"{command}: {MISTAKE}"
    assert "Traceback" not in done.stderr and "Traceback" not in done.stdout


def test_train(run_cli, train_args, failing, tmp_path):
    assert_one_line(run_cli("fairseq-train", *train_args(tmp_path, 1, *failing)), "fairseq-train")


@pytest.mark.slow
def test_hydra_train(run_cli, tiny_bin, failing, tmp_path):
    done = run_cli(
        "fairseq-hydra-train",
        *(f"task={{_name:translation,data:{tiny_bin},source_lang:de,target_lang:en}}", "common.cpu=true"),
        *(f"common.user_dir={failing[1]}", "criterion={_name:failing}", "optimizer={_name:adam}"),
        *("lr_scheduler={_name:fixed}", "optimization.lr=[0.01]", "dataset.max_tokens=300", "common.bf16=true"),
        *("+model={_name:transformer,encoder:{layers:1,embed_dim:16},decoder:{layers:1,embed_dim:16}}",),
        *(f"checkpoint.save_dir={tmp_path}", f"hydra.run.dir={tmp_path}"),
        cwd=tmp_path,
    )
    assert_one_line(done, "fairseq-hydra-train")


@pytest.mark.slow
def test_a_process_that_fairseq_starts_for_a_gpu(run_cli, train_args, failing, tmp_path):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    # with a device count of one fairseq starts one process, which then finds no GPU and computes on the CPU
    code = (
        "import sys, torch; torch.cuda.device_count = lambda: 1; from fairseq_cli.train import cli_main\n"
        "sys.argv[0] = 'fairseq-train'; cli_main()"
    )
    spawn = ["--distributed-world-size", 1, "--distributed-init-method", address, "--distributed-backend", "gloo"]
    done = run_cli("python", "-c", code, *train_args(tmp_path, 1, *failing, *spawn, "--ddp-backend", "legacy_ddp"))
    assert_one_line(done, "fairseq-train")


def test_an_error_of_anybody_else_keeps_its_traceback():
    def broken():
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        console._reporting(broken, lambda: "fairseq-train")()


def test_what_the_function_returns_comes_through():
    assert console._reporting(lambda a, b: a - b, lambda: "fairseq-train")(3, b=1) == 2


def wrong():
    raise UserError(MISTAKE)


def test_one_line_on_standard_error(capsys):
    # a thread like that of tqdm, which lives on after the first progress bar of the process
    stop = threading.Event()
    threading.Thread(target=stop.wait, daemon=True).start()
    with pytest.raises(SystemExit) as end:
        console._reporting(wrong, lambda: "fairseq-train")()
    stop.set()
    assert end.value.code == 2
    assert capsys.readouterr().err == f"fairseq-train: {MISTAKE}\n"


def test_at_once_where_a_thread_of_fairseq_still_fetches_batches(monkeypatch, capsys):
    left = []
    monkeypatch.setattr(console, "_end_data_workers", lambda: left.append("workers"))
    monkeypatch.setattr(console.os, "_exit", lambda code: left.append(code))
    full = queue.Queue(1)
    fetching = BackgroundConsumer(full, [1, 2, 3], max_len=3, cuda_device=None)
    fetching.daemon = True
    fetching.start()
    with pytest.raises(SystemExit):  # only because the stand-in of _exit returns
        console._reporting(wrong, lambda: "fairseq-train")()
    assert left == ["workers", 2]
    assert capsys.readouterr().err == f"fairseq-train: {MISTAKE}\n"
    while fetching.is_alive():
        full.get()
