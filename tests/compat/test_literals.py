"""F28: what fairseq evaluates is read as literals, wherever it comes from, and code in it is not run."""

import argparse
import re
import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labo_fairseq.cli import main
from labo_fairseq.compat import literals, mends
from labo_fairseq.compat.errors import UserError

FAIRSEQ = Path(sys.prefix, "lib", f"python{sys.version_info.major}.{sys.version_info.minor}", "site-packages")
# calls of eval() that no mend reaches, and why data cannot reach them
NOT_REACHED = {
    "fairseq/examples": "imported by --user-dir alone, and mended then",
    "fairseq/tasks/audio_finetuning.py": "editdistance.eval, which compares texts",
}
BETAS = [
    ("(0.9, 0.98)", (0.9, 0.98)),
    ("[10000, 20000]", [10000, 20000]),
    ("[(512, 3)] * 4", [(512, 3)] * 4),
    ("[(512, 10, 5)] + [(512, 3, 2)] * 2 + [(512,2,2)]", [(512, 10, 5), (512, 3, 2), (512, 3, 2), (512, 2, 2)]),
    ("True", True),
    ("-1e-3", -1e-3),
    ("{'a': [1, None]}", {"a": [1, None]}),
    (" 2 * 3 - 1 ", 5),
    ("('a.wrd', 'b.txt', 4, -1.5)", ("a.wrd", "b.txt", 4, -1.5)),
]
HOSTILE = [
    "__import__('os').system('touch {sign}') or [50]",
    "[open('{sign}', 'w')]",
    "[x for x in [1]]",
    "(lambda: 1)()",
    "exec('1')",
    "[0] * 10**9",
    "[0] * 1000000000",
    "[[0] * 100000] * 100000",
    "'a' * 999999999",
    "9 ** 9 ** 9",
    "().__class__.__bases__",
    "f'{{1}}'",
    "[" * 500 + "]" * 500,
    "9" * 9000,
    "1 if True else 2",
    "a",
    "",
]


@pytest.mark.parametrize(("text", "value"), BETAS)
def test_literals_and_their_sums_and_products(text, value):
    assert literals.evaluate(text) == value == eval(text)


@pytest.mark.parametrize("text", HOSTILE)
def test_anything_else_is_refused_and_not_run(text, tmp_path):
    sign = tmp_path / "executed"
    with pytest.raises(UserError, match="was not evaluated") as caught:
        literals.evaluate(text.format(sign=sign) if "{sign}" in text else text)
    assert not sign.exists() and "\n" not in str(caught.value) and len(str(caught.value)) < 300


@settings(max_examples=300, deadline=None)
@given(st.text("0123456789.,()[]{}*+-'\"eTrue: ab\n", max_size=40))
def test_any_text_is_a_value_or_refused(text):
    try:
        value = literals.evaluate(text)
    except UserError:
        return
    assert value == eval(text.strip())  # of these letters no call can be made


@pytest.mark.parametrize(
    "text", ["-" * 900_000 + "1", "1+" * 100_000 + "1", "[]+" * 50_000 + "[]", "(" * 3000, "9" * 2_000_000]
)
def test_long_texts_are_refused_too(text):
    with pytest.raises(UserError, match="was not evaluated"):
        literals.evaluate(text)


def test_a_line_of_a_speech_manifest_may_be_long():
    line = str({"audio": "a.wav", "hubert": "71 12 " * 20_000, "duration": 12.5})
    assert literals.evaluate(line) == eval(line)


@pytest.mark.parametrize("value", [True, None, 3, 0.5, ["x"], b"1"])
def test_what_is_no_text_raises_what_eval_raises(value):
    with pytest.raises(TypeError):
        literals.evaluate(value)


def test_settings_that_may_be_true_or_text():
    from fairseq.utils import eval_bool

    found = [eval_bool(value) for value in (True, False, "True", "False", "0", None)]
    assert found == [False, False, True, False, False, False]  # what is no text is the default, as in fairseq
    assert eval_bool(True, default=True)


def test_examples_that_user_dir_imports_read_literals_alone(tmp_path):
    """fairseq's examples evaluate settings too, and are imported under names that nobody knows beforehand."""
    from fairseq import utils

    examples = Path(utils.__file__).parent / "examples"
    found = [path for path in (examples / "translation_moe" / "translation_moe_src").glob("*.py") if path.exists()]
    if not found:
        pytest.skip("this fairseq comes without its examples")
    utils.import_user_module(argparse.Namespace(user_dir=str(found[0].parent)))
    imported = [m for m in sys.modules.values() if str(getattr(m, "__file__", "")).startswith(str(found[0].parent))]
    assert imported and all(module.eval is literals_in_use() for module in imported)


def literals_in_use():
    """The function that the bridge gives to fairseq: of its own copy of the module."""
    from fairseq import utils

    return utils.eval


def evaluating(text):
    """Whether a source file calls the builtin eval."""
    return re.search(r"(?<![\w.])eval\(", text)


def test_every_eval_of_fairseq_is_mended_or_out_of_reach():
    files = [path for name in ("fairseq", "fairseq_cli") for path in (FAIRSEQ / name).rglob("*.py")]
    assert len(files) > 300
    for path in files:
        place = path.relative_to(FAIRSEQ).as_posix()
        if not evaluating(path.read_text(encoding="utf-8")) or any(place.startswith(known) for known in NOT_REACHED):
            continue
        module = place.removesuffix(".py").replace("/", ".")
        assert literals.read_literals_alone in mends.MODULE_MENDS.get(module, []), f"{module} evaluates unmended"


@pytest.mark.parametrize("module", mends.EVALUATING)
def test_every_mended_module_does_evaluate(module):
    assert evaluating((FAIRSEQ / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8"))


@pytest.fixture
def evil(trained, tmp_path):
    """Function: (checkpoint whose setting is code, the file that the code would make)."""

    def make(setting="adaptive_softmax_cutoff"):
        sign = tmp_path / "executed"
        state = torch.load(trained / "checkpoint_best.pt", weights_only=False)
        setattr(state["cfg"]["model"], setting, f"__import__('os').system('touch {sign}') or [50]")
        path = tmp_path / "evil.pt"
        torch.save(state, path)
        return path, sign

    return make


def test_generate_names_file_and_setting(evil, tiny_bin, run_cli):
    path, sign = evil()
    done = run_cli("fairseq-generate", tiny_bin, "--path", path, "--cpu")
    assert done.returncode == 2 and not sign.exists(), done.stderr
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(f"fairseq-generate: {path}: the setting adaptive_softmax_cutoff: ")


@pytest.mark.parametrize(
    "command",
    [
        lambda path, data, out: ["calibrate", data, "--path", path, "--out", out, "--cpu"],
        lambda path, data, out: ["distill-targets", data, "--path", path, "--out", out / "t.probs", "--cpu"],
        lambda path, data, out: ["export", "--ctranslate2", path, "--data", data, "--out", out / "fast"],
        lambda path, data, out: ["targets", data, "--path", path, "--sentence", "0", "--position", "1", "--cpu"],
        lambda path, data, out: ["padding-calibration", data, "--path", path, "--cpu", "--out", out],
    ],
    ids=["calibrate", "distill-targets", "export", "targets", "padding-calibration"],
)
def test_commands_of_ours_name_file_and_setting(evil, tiny_bin, tmp_path, capsys, command):
    path, sign = evil()
    assert main([str(word) for word in command(path, tiny_bin, tmp_path / "out")]) == 2
    assert not sign.exists() and f"{path}: the setting adaptive_softmax_cutoff" in capsys.readouterr().err


def test_a_teacher_runs_no_code(evil, train_args, run_cli, tmp_path):
    path, sign = evil()
    arguments = ["--criterion", "knowledge_distillation", "--teacher-path", path]
    done = run_cli("fairseq-train", *train_args(tmp_path / "student", 1, *arguments), "--user-dir", user_dir())
    assert done.returncode == 2 and not sign.exists(), done.stderr
    assert "the setting adaptive_softmax_cutoff" in done.stderr


def user_dir():
    import labo_fairseq

    return labo_fairseq.__path__[0]


def test_settings_on_the_command_line_are_literals_too(train_args, run_cli, tmp_path):
    sign = tmp_path / "executed"
    betas = f"__import__('os').system('touch {sign}') or (0.9, 0.98)"
    done = run_cli("fairseq-train", *train_args(tmp_path / "run", 1), "--adam-betas", betas)
    assert done.returncode == 2 and not sign.exists(), done.stderr
    assert "fairseq-train: the setting adam_betas: " in done.stderr


@pytest.mark.slow
def test_convolutions_of_fconv_are_read_as_before(tiny_bin, run_cli, tmp_path):
    layers = "[(16, 3)] * 2"
    done = run_cli(
        *("fairseq-train", tiny_bin, "--arch", "fconv", "--encoder-embed-dim", 16, "--decoder-embed-dim", 16),
        *("--encoder-layers", layers, "--decoder-layers", layers, "--decoder-out-embed-dim", 16, "--lr", 0.1),
        *("--optimizer", "nag", "--max-update", 1, "--max-tokens", 300, "--save-dir", tmp_path, "--cpu"),
        *("--criterion", "cross_entropy", "--num-workers", 0),
    )
    assert done.returncode == 0, done.stderr
    done = run_cli("fairseq-generate", tiny_bin, "--path", tmp_path / "checkpoint_last.pt", "--cpu")
    assert done.returncode == 0, done.stderr
