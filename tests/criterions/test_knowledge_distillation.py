"""The criterion knowledge_distillation: its teachers, models and stored probabilities, and what it refuses."""

import copy
import fcntl
import shutil

import _teachers
import pytest
import torch
from _cases import cross_entropy, kl
from _models import build, run

from labo_fairseq.cli import main
from labo_fairseq.errors import UserError
from labo_fairseq.fairseq_models import teacher_targets

PRESETS = {
    "labo": {"distill_weight": 0.5, "distill_scale": "none"},
    "hinton": {"distill_weight": 0.9, "teacher_temperature": 2.0},
    "mueller": {
        "distill_weight": 1.0,
        "teacher_temperature": 3.0,
        "student_temperature": 1.0,
        "distill_scale": "none",
    },
    "logits": {"distill_weight": 0.6, "distill_match": "logits"},
}


@pytest.fixture(scope="module")
def student(tiny_bin):
    """(task, student in float64)."""
    _, task, model = _teachers.make(tiny_bin, seed=7)
    return task, model.double()


@pytest.fixture(scope="module")
def teachers(tiny_bin, tmp_path_factory):
    """Two checkpoints, one larger than the other, and their models in float64."""
    folder = tmp_path_factory.mktemp("teachers")
    made = [_teachers.make(tiny_bin, seed=seed, width=width, dropout=0.5) for seed, width in ((2, 24), (3, 16))]
    paths = [_teachers.save(folder / f"{i}.pt", cfg, model) for i, (cfg, _, model) in enumerate(made)]
    return paths, [copy.deepcopy(model).double() for _, _, model in made]


def distill(task, path=None, **flags):
    return build(task, "knowledge_distillation", save_dir="elsewhere", teacher_path=path, **flags)


def mean_log_probs(models, batch):
    with torch.no_grad():
        return (sum(torch.softmax(m(**batch["net_input"])[0], -1) for m in models) / len(models)).log()


def literal(z, target, t, weight, temperature=1.0, own=None, scale="t2", match="probs"):
    """The published equations on rows of logits of student and teacher."""
    hard = (1 - weight) * cross_entropy(z, target)
    if match == "logits":
        apart = (z - z.mean(-1, keepdim=True)) - (t - t.mean(-1, keepdim=True))
        return hard + weight / 2 * (apart**2).mean(-1)
    own = temperature if own is None else own
    soft = kl(torch.softmax(t / temperature, -1), torch.softmax(z / own, -1))
    return hard + weight * (temperature**2 if scale == "t2" else 1) * soft


def expectation(task, model, batch, log_probs, flags, prefix=0):
    """Loss and gradients by autograd of the literal equations."""
    names = {"distill_weight": "weight", "teacher_temperature": "temperature", "student_temperature": "own"}
    names |= {"distill_scale": "scale", "distill_match": "match"}
    z = model(**batch["net_input"])[0][:, prefix:].flatten(0, 1)
    target = batch["target"][:, prefix:].flatten()
    kept = target != task.target_dictionary.pad()
    t = log_probs[:, prefix:].flatten(0, 1)
    loss = literal(z[kept], target[kept], t[kept], **{names[key]: value for key, value in flags.items()}).sum()
    model.zero_grad()
    loss.backward()
    return loss.detach(), {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def assert_same(got, expected, **tolerance):
    loss, _, _, grads = got
    torch.testing.assert_close(loss, expected[0], **tolerance)
    assert grads.keys() == expected[1].keys()
    for name, grad in grads.items():
        torch.testing.assert_close(grad, expected[1][name], msg=name, **tolerance)


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("preset", PRESETS)
def test_equals_the_published_equation(student, teachers, preset, projection):
    (task, model), (paths, models) = student, teachers
    batch = _teachers.batch_of(task)
    criterion = distill(task, paths[0], projection=projection, ignore_prefix_size=1, **PRESETS[preset])
    log_probs = mean_log_probs(models[:1], batch)
    assert_same(run(criterion, model, batch), expectation(task, model, batch, log_probs, PRESETS[preset], prefix=1))


def test_an_ensemble_averages_probabilities(student, teachers):
    (task, model), (paths, models) = student, teachers
    batch, flags = _teachers.batch_of(task), PRESETS["hinton"]
    criterion = distill(task, ":".join(paths), **flags)
    assert_same(run(criterion, model, batch), expectation(task, model, batch, mean_log_probs(models, batch), flags))


def test_a_teacher_without_a_plain_projection(student, teachers, monkeypatch):
    """Its logits are taken from the model as they are."""
    (task, model), (paths, models) = student, teachers
    batch = _teachers.batch_of(task)
    criterion = distill(task, paths[0])
    monkeypatch.setattr("labo_fairseq.fairseq_models.teacher.obstacle", lambda model: "it has a kind of its own")
    expected = expectation(task, model, batch, mean_log_probs(models[:1], batch), {"distill_weight": 0.5})
    assert_same(run(criterion, model, batch), expected)


def test_the_teacher_is_no_part_of_the_criterion(student, teachers):
    """Nothing to save, nothing to train, no dropout, whatever mode the criterion is in."""
    (task, model), (paths, _) = student, teachers
    batch = _teachers.batch_of(task)
    criterion = distill(task, paths[0]).train()
    assert not list(criterion.parameters()) and not criterion.state_dict() and len(list(criterion.modules())) == 1
    first = run(criterion, model, batch)[0]
    criterion.eval()
    assert run(criterion, model, batch)[0] == first, "a teacher with dropout 0.5 says something else each time"
    assert not any(p.requires_grad or p.grad is not None for p in criterion._teacher.models[0].parameters())


def test_the_teacher_follows_the_students_type(teachers, tiny_bin):
    _, task, model = _teachers.make(tiny_bin, seed=7)
    batch, criterion = _teachers.batch_of(task), distill(task, teachers[0][0])
    full = run(criterion, model, batch)[0]
    loss, _, _, grads = run(criterion, model.bfloat16(), batch)
    assert next(criterion._teacher.models[0].parameters()).dtype == torch.bfloat16
    assert {g.dtype for g in grads.values()} == {torch.bfloat16}
    torch.testing.assert_close(loss.double(), full.double(), atol=0, rtol=0.05)


def test_r_drop_accuracy_and_calibration_come_along(student, teachers):
    """Without dropout both passes are alike: the loss is twice that of one pass, and the log has the same keys."""
    (task, model), (paths, _) = student, teachers
    batch = _teachers.batch_of(task)
    options = {"report_accuracy": True, "report_calibration": True, **PRESETS["hinton"]}
    for projection in ("fused", "dense"):
        one, _, log, _ = run(distill(task, paths[0], projection=projection, **options), model, batch)
        model.train()
        twice, size, other, _ = run(
            distill(task, paths[0], projection=projection, rdrop_weight=1.0, **options), _still(model), batch
        )
        model.eval()
        torch.testing.assert_close(twice, 2 * one)
        assert size == batch["ntokens"] and float(other["n_correct"]) == float(log["n_correct"])
        torch.testing.assert_close(other["nll_loss"], log["nll_loss"])
        assert any("calibration" in key for key in log)


def _still(model):
    for module in model.modules():
        if hasattr(module, "p"):
            module.p = 0.0
    return model


def test_splitting_a_batch_changes_no_sum(student, teachers):
    """What makes gradient accumulation and several workers right."""
    (task, model), (paths, _) = student, teachers
    criterion = distill(task, paths[0], **PRESETS["hinton"])
    loss, _, _, grads = run(criterion, model, _teachers.batch_of(task, ids=range(6)))
    parts = [run(criterion, model, _teachers.batch_of(task, ids=ids)) for ids in (range(4), range(4, 6))]
    torch.testing.assert_close(parts[0][0] + parts[1][0], loss)
    for name, grad in grads.items():
        torch.testing.assert_close(parts[0][3][name] + parts[1][3][name], grad, msg=name)


# --- stored probabilities ---


@pytest.fixture(scope="module")
def stored(tiny_bin, teachers, tmp_path_factory):
    """Function: k -> file of `labo distill-targets`."""
    folder = tmp_path_factory.mktemp("stored")

    def make(k, teacher=teachers[0][0]):
        out = folder / f"{k}.{len(teacher)}.probs"
        if not out.exists():
            line = ["distill-targets", tiny_bin, "--path", teacher, "--top-k", k, "--out", out, "--cpu"]
            assert main([*map(str, line)]) == 0
        return str(out)

    return make


@pytest.mark.parametrize("projection", ["dense", "fused"])
@pytest.mark.parametrize("k", [3, "all"])
def test_stored_probabilities_equal_the_teacher(student, teachers, stored, k, projection):
    """All of them are the teacher itself; of the top 3 the rest is spread over the other types, then tempered."""
    (task, model), (_, models) = student, teachers
    types = len(task.target_dictionary)
    flags = PRESETS["hinton"]
    criterion = distill(task, teacher_probs=stored(types if k == "all" else k), projection=projection, **flags)
    for subset, ids in (("valid", (2, 11, 0)), ("train", (59, 3, 4, 17))):
        batch = _teachers.batch_of(task, subset, ids)
        p = mean_log_probs(models[:1], batch).exp()
        if k != "all":
            top = p.topk(k, -1)
            rest = (1 - top.values.sum(-1, keepdim=True)) / (types - k)
            p = rest.expand_as(p).scatter(-1, top.indices, top.values)
        expected = expectation(task, model, batch, p.log(), flags)
        assert_same(run(criterion, model, batch), expected, atol=2e-4, rtol=2e-5)  # stored as float32


def test_an_interrupted_run_goes_on(tiny_bin, teachers, stored, tmp_path, monkeypatch, capsys):
    """Killed in the third batch with half of it written: the file comes out the same, and done batches stay done."""
    out = tmp_path / "new" / "file.probs"
    out.parent.mkdir()
    line = ["distill-targets", tiny_bin, "--path", teachers[0][0], "--top-k", 3, "--out", out, "--cpu"]
    line = [*map(str, line), "--max-tokens", "60"]
    append, calls = teacher_targets.Part.append, []

    def dying(self, keys, sizes, probabilities, types):
        calls.append(len(keys))
        if len(calls) == 3:
            with open(self._at("probabilities"), "ab") as stream:
                stream.write(probabilities.tobytes())
            with open(self._at("sentences"), "ab") as stream:
                stream.write(keys[:1].tobytes()[:5])
            raise KeyboardInterrupt
        append(self, keys, sizes, probabilities, types)

    monkeypatch.setattr(teacher_targets.Part, "append", dying)
    assert main(line) == 130 and not out.exists()
    counted = []
    monkeypatch.setattr(teacher_targets.Part, "append", lambda self, *a: (counted.append(len(a[0])), append(self, *a)))
    capsys.readouterr()
    assert main(line) == 0
    table = capsys.readouterr().out.splitlines()
    assert [row.split("\t")[:2] for row in table[1:]] == [["train", "60"], ["valid", "12"]]
    assert sum(counted) == 72 - sum(calls[:2]), "stored batches are not computed again"
    assert [path.name for path in out.parent.iterdir()] == ["file.probs"]
    got, whole = (torch.load(path, weights_only=True) for path in (out, stored(3)))
    assert got["keys"].equal(whole["keys"]) and got["sizes"].equal(whole["sizes"])
    for a, b, n in zip(got["starts"].tolist(), whole["starts"].tolist(), whole["sizes"].tolist(), strict=True):
        torch.testing.assert_close(got["probabilities"][a : a + n], whole["probabilities"][b : b + n])


def test_one_run_at_a_time(tiny_bin, teachers, tmp_path, capsys):
    out = tmp_path / "file.probs"
    (tmp_path / "file.probs.part").mkdir()
    with open(tmp_path / "file.probs.part" / "lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert main(["distill-targets", str(tiny_bin), "--path", teachers[0][0], "--out", str(out), "--cpu"]) == 2
    assert "another labo distill-targets works there" in capsys.readouterr().err


def test_sentences_that_were_not_stored_are_named(student, stored, tiny_text, tiny_bin, tmp_path):
    task, model = student
    criterion = distill(task, teacher_probs=stored(3))
    batch = _teachers.batch_of(task)
    batch["target"] = batch["target"].clone()
    batch["target"][1, 0] = task.target_dictionary.unk()
    with pytest.raises(UserError, match=f"has nothing for sentence {batch['id'][1]} of this batch: make the file"):
        run(criterion, model, batch)
    _, other, _ = _teachers.make(tiny_bin)
    other.load_dataset("valid")
    other.load_dataset("test")  # the file has train and valid alone
    with pytest.raises(UserError, match="has nothing for the subset test"):
        run(distill(other, teacher_probs=stored(3)), model, _teachers.batch_of(other, "valid", (0, 1)))


# --- bad input ---

BAD = [
    ({}, "--teacher-path: give the teacher's checkpoint, or --teacher-probs"),
    ({"teacher_path": "t.pt", "teacher_probs": "t.probs"}, "and not both"),
    ({"teacher_path": "t.pt", "distill_weight": 1.5}, "--distill-weight"),
    ({"teacher_path": "t.pt", "teacher_temperature": 0.0}, "--teacher-temperature"),
    ({"teacher_path": "t.pt", "teacher_temperature": -1.0}, "--teacher-temperature"),
    ({"teacher_path": "t.pt", "student_temperature": 0.0}, "--student-temperature"),
    ({"teacher_path": "t.pt", "teacher_temperature": float("inf")}, "--teacher-temperature"),
    ({"teacher_probs": "t.probs", "distill_match": "logits"}, "hold no logits: give --teacher-path"),
    ({"teacher_path": "t.pt", "distill_match": "logits", "teacher_temperature": 2.0}, "leave temperatures out"),
    ({"teacher_path": "t.pt"}, "t.pt: no such file"),
    ({"teacher_path": "elsewhere/checkpoint_best.pt"}, "lies in --save-dir"),
    ({"teacher_probs": "t.probs"}, "--teacher-probs t.probs: no such file"),
]


@pytest.mark.parametrize("flags, message", BAD)
def test_bad_settings_are_one_line(student, flags, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message) as caught:
        build(student[0], "knowledge_distillation", save_dir="elsewhere", **flags)
    assert "\n" not in str(caught.value)


def test_files_of_another_kind_are_refused(student, teachers, stored, tmp_path):
    task, _ = student
    (tmp_path / "text").write_text("no checkpoint")
    torch.save({"model": 1}, tmp_path / "other.pt")
    shutil.copy(stored(3), tmp_path / "cut.probs")
    with open(tmp_path / "cut.probs", "r+b") as stream:
        stream.truncate(1000)
    for name in ("text", "other.pt"):
        with pytest.raises(ValueError, match=name):  # the bridge has a class of its own for such errors
            distill(task, str(tmp_path / name))
    for name in ("text", "cut.probs", "other.pt"):
        with pytest.raises(UserError, match=f"{name}: is no whole file of `labo distill-targets`"):
            distill(task, teacher_probs=str(tmp_path / name))
    with pytest.raises(UserError, match="no such file"):
        distill(task, f"{teachers[0][0]}:{tmp_path}/nowhere.pt")


DAMAGED = {
    "no keys": ("keys", None),
    "keys of another type": ("keys", lambda t: t.float()),
    "keys that are a list": ("keys", lambda t: t.tolist()),
    "no sentences": (("keys", "starts", "sizes"), lambda t: t[:0]),
    "a sentence too few": ("starts", lambda t: t[1:]),
    "sentences that begin before the first token": ("starts", lambda t: t - 1),
    "sentences that go on after the last token": ("sizes", lambda t: t + 1000),
    "sentences of no token": ("sizes", lambda t: t * 0),
    "sizes that overflow": ("sizes", lambda t: t + (1 << 62)),
    "probabilities in half precision": ("probabilities", lambda t: t.half()),
    "a column too few": ("probabilities", lambda t: t[:, 1:]),
    "probabilities of three axes": ("probabilities", lambda t: t[None]),
    "types of 64 bits": ("types", lambda t: t.long()),
    "a token too few": ("types", lambda t: t[1:]),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_file_whose_parts_do_not_fit_is_refused(student, stored, tmp_path, kind):
    names, change = DAMAGED[kind]
    content = torch.load(stored(3), weights_only=True)
    for name in [names] if isinstance(names, str) else names:
        content[name] = None if change is None else change(content[name])
    torch.save(content, tmp_path / "damaged.probs")
    with pytest.raises(UserError, match=r"damaged\.probs: is no whole file of `labo distill-targets`"):
        distill(student[0], teacher_probs=str(tmp_path / "damaged.probs"))


@pytest.mark.parametrize("side", ["de", "en"])
def test_a_teacher_of_another_dictionary_is_refused(student, teachers, tiny_bin, stored, tmp_path, side):
    """As many types, but two of them have changed places on one side; the dictionary beside the checkpoint counts."""
    task, _ = student
    path = shutil.copy(teachers[0][0], tmp_path / "teacher.pt")
    for language in ("de", "en"):
        lines = (tiny_bin / f"dict.{language}.txt").read_text().splitlines()
        if language == side:
            lines[3], lines[4] = lines[4], lines[3]
        (tmp_path / f"dict.{language}.txt").write_text("\n".join(lines) + "\n")
    which = "source" if side == "de" else "target"
    # the first four types are fairseq's own
    with pytest.raises(UserError, match=f"its {which} dictionary .* is not that of the data .* type 7 is '"):
        distill(task, str(path))
    content = torch.load(stored(3), weights_only=True)
    content["dictionaries"][which] = "0" * 64
    torch.save(content, tmp_path / "foreign.probs")
    with pytest.raises(UserError, match="was made with other dictionaries"):
        distill(task, teacher_probs=str(tmp_path / "foreign.probs"))


def test_a_teacher_whose_dictionaries_are_gone_is_refused(student, teachers, tiny_bin, tmp_path):
    """Only sizes could be compared; the copies beside the checkpoint mend it."""
    cfg, _, model = _teachers.make(tiny_bin)
    cfg.task.data = str(tmp_path / "moved")
    path = _teachers.save(tmp_path / "teacher.pt", cfg, model)
    with pytest.raises(UserError, match=r"copy the teacher's dict\.\*\.txt beside the checkpoint"):
        distill(student[0], path)
    for language in ("de", "en"):
        shutil.copy(tiny_bin / f"dict.{language}.txt", tmp_path)
    distill(student[0], path)
