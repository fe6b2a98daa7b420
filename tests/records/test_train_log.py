import gzip

import pytest
from _analysis import CONFIG, RESUMED, epoch_end, inner, valid, write

from labo_fairseq.errors import UserError
from labo_fairseq.records.train_log import parse_line, read_train_log


# written by fairseq 0.12.2: --log-interval 10, 14 updates per epoch, killed after update 50, resumed from the
# checkpoint at the end of epoch 3 (update 42), ended at 60; the lines that print the model are left out
def read(tmp_path, *lines):
    return read_train_log(write(tmp_path / "train.log", "".join(line + "\n" for line in lines)))


def test_a_real_log_of_a_killed_and_resumed_run():
    log = read_train_log(RESUMED)
    assert [point.update for point in log.train] == [10, 20, 30, 40, 50, 60]
    assert [point.update for point in log.valid] == [14, 20, 28, 40, 42, 56, 60]
    assert log.train[4].seconds == 4  # the account of the process that went on, not the 6 of the killed one
    assert log.updates == log.timed_updates == log.max_update == 60 and log.finished
    assert log.timed_seconds == 84 + 8 + 8 + 7 + 2
    assert log.updates_per_second == pytest.approx(60 / 109)
    assert (log.best.update, log.best.nll_loss) == (42, 5.195)
    assert log.criterion["_name"] == "label_smoothed_cross_entropy" and log.criterion["label_smoothing"] == 0.1


@pytest.mark.parametrize(
    ("last", "finished"),
    [
        ("done training in 3.2 seconds", True),
        ("2026-01-02 03:04:05 | INFO | fairseq_cli.train | done training in 3.2 seconds", True),
        (inner(100), False),
        ("done training in 3.2 seconds\n" + CONFIG + "\n" + inner(200), False),  # resumed with more updates, killed
    ],
)
def test_a_run_is_finished_when_fairseq_says_so_last(tmp_path, last, finished):
    assert read(tmp_path, CONFIG, inner(50), last, "").finished is finished


def test_fields_of_points(tmp_path):
    log = read(tmp_path, CONFIG, inner(100, nll=5.25), valid(100, 4.5, bleu="12.34"))
    (point,) = log.train
    assert (point.loss, point.nll_loss, point.ups, point.wpb, point.seconds) == (6.5, 5.25, 3.25, 512.5, 2.0)
    (point,) = log.valid
    assert (point.update, point.loss, point.nll_loss, point.ppl, point.bleu) == (100, 6.0, 4.5, 32.0, 12.34)
    assert log.criterion == {"_name": "labo", "rho": 0.5} and log.max_update == 1200


def test_terminal_output_with_time_stamps_reads_the_same(tmp_path):
    lines = [inner(100), valid(110, 4.5), epoch_end(1, 110, 3)]
    stamped = [f"2026-01-02 03:04:05 | INFO | {kind} | {line}" for kind, line in zip("abc", lines, strict=True)]
    assert read(tmp_path, *stamped) == read(tmp_path, *lines)


SIMPLE = """\
2026-01-02 03:04:05 | INFO | fairseq_cli.train | training on 1 devices (GPUs/TPUs)
2026-01-02 03:04:06 | INFO | fairseq.trainer | begin training epoch 1
2026-01-02 03:04:10 | INFO | train_inner | epoch 001:     10 / 14 loss=9.118, nll_loss=8.734, ppl=425.8, wps=3215.8, \
ups=7.42, wpb=433.4, bsz=50, num_updates=10, lr=0.0001, gnorm=2.2, clip=0, train_wall=2, wall=3
2026-01-02 03:04:12 | INFO | valid | epoch 001 | valid on 'valid' subset | loss 8.5 | nll_loss 8.021 | ppl 259.7 | \
wps 9000 | wpb 300 | bsz 40 | num_updates 14
2026-01-02 03:04:12 | INFO | train | epoch 001 | loss 9.0 | nll_loss 8.6 | ppl 388 | wps 3000 | ups 7 | wpb 430 | \
bsz 50 | num_updates 14 | lr 0.00014 | gnorm 2 | clip 0 | train_wall 4 | wall 5
2026-01-02 03:04:13 | INFO | test2 | epoch 001 | valid on 'test2' subset | loss 1 | nll_loss 1 | num_updates 14
"""


def test_the_log_of_other_formats_reads_too(tmp_path):
    """--log-format simple, the default where no terminal is: as its JSON twin."""
    plain = read(tmp_path, CONFIG, *SIMPLE.splitlines())
    (point,) = plain.train
    assert (point.update, point.loss, point.nll_loss, point.ups, point.wpb, point.seconds) == (
        10, 9.118, 8.734, 7.42, 433.4, 2.0
    )  # fmt: skip
    (point,) = plain.valid
    assert (point.update, point.loss, point.nll_loss, point.ppl) == (14, 8.5, 8.021, 259.7)
    assert (plain.updates, plain.timed_updates, plain.timed_seconds, plain.max_update) == (14, 14, 4.0, 1200)
    # where a bar was, train_inner lines are missing and the rest is the same
    bar = read(tmp_path, CONFIG, *(line for line in SIMPLE.splitlines() if "train_inner" not in line))
    assert not bar.train and (bar.valid, bar.updates, bar.timed_seconds) == (plain.valid, 14, 4.0)


@pytest.mark.parametrize(
    "line",
    [
        "2026-01-02 03:04:10 | INFO | train | epoch 001 | loss 9.0",
        "2026-01-02 03:04:10 | INFO | train | epoch x | num_updates 14",
        "begin training epoch 1 | num_updates 14",
        "| INFO | train | epochs 001 | num_updates 14",
    ],
)
def test_a_line_that_is_no_point(line):
    assert parse_line(line) is None


def test_lines_that_fairseq_repeats_count_once(tmp_path):
    once = [inner(10), valid(14, 5.0), epoch_end(1, 14, 3), inner(20, epoch=2), valid(28, 4.0), epoch_end(2, 28, 4)]
    again = [line for i, line in enumerate(once) for _ in range(1 + (i > 2))]
    assert read(tmp_path, *again) == read(tmp_path, *once)


def test_what_a_killed_process_did_after_its_checkpoint_is_dropped(tmp_path):
    killed = [inner(100, wall=30), valid(150, 4.0), inner(200, wall=40), valid(210, 1.0, epoch=2)]
    log = read(tmp_path, CONFIG, *killed, '{"epoch": 2, "update": 1.2, "lo' + CONFIG, inner(200, wall=50))
    assert [(point.update, point.seconds) for point in log.train] == [(100, 30), (200, 50)]
    assert [point.update for point in log.valid] == [150]
    assert (log.timed_updates, log.timed_seconds) == (200, 80)  # no epoch has ended yet
    assert log.max_update == 1200


def test_an_epoch_that_was_interrupted_counts_once(tmp_path):
    # the meter of the epoch is in the checkpoint, so its second line holds the first's seconds too
    log = read(tmp_path, epoch_end(1, 100, 50), epoch_end(2, 150, 25), epoch_end(2, 200, 52))
    assert (log.timed_updates, log.timed_seconds) == (200, 102)


def test_an_epoch_without_its_line_is_not_timed(tmp_path):
    # killed between the checkpoint at the end of epoch 2 and its line: where epoch 3 began is unknown
    log = read(tmp_path, epoch_end(1, 100, 50), epoch_end(3, 300, 60), epoch_end(4, 400, 40))
    assert (log.updates, log.timed_updates, log.timed_seconds) == (400, 200, 90)


def test_best_is_the_later_of_equals_and_never_nan(tmp_path):
    log = read(
        tmp_path, valid(10, "nan"), valid(20, 4.0), valid(30, 3.5), valid(40, 3.5), valid(50, 3.6), valid(60, "inf")
    )
    assert log.best.update == 40
    assert read(tmp_path, inner(10)).best is None


def test_cross_entropy_of_fairseq_logs_its_nll_as_loss(tmp_path):
    assert read(tmp_path, valid(10, None, loss="5.000", ppl="32.01")).best.nll_loss == 5.0
    assert read(tmp_path, valid(10, None, loss="5.500", ppl="32.01")).best is None


def test_a_run_that_has_just_begun_is_no_error(tmp_path):
    log = read(tmp_path, CONFIG, "task: TranslationTask")
    assert log.updates == 0 and log.updates_per_second is None and log.best is None


def test_gzip(tmp_path):
    path = tmp_path / "train.log.gz"
    path.write_bytes(gzip.compress(RESUMED.read_bytes()))
    assert read_train_log(path) == read_train_log(RESUMED)


@pytest.mark.parametrize("text", ["", "epoch 001 | loss 3.2 | ppl 9\n", '{"epoch": 1, "nothing": "1"}\n'])
def test_other_files_are_refused(tmp_path, text):
    with pytest.raises(UserError, match=r"train.log: no line of fairseq-train's log"):
        read_train_log(write(tmp_path / "train.log", text))


def test_choices_stand_without_quotes(tmp_path):
    """As fairseq prints an enumeration; a real log of `fairseq-train --criterion labo` has two of them."""
    settings = "'projection': auto, 'smoothing_mass': adaptive, 'form': two-words, 'rho': 0.5"
    log = read(tmp_path, CONFIG.replace("'rho': 0.5", settings), inner(10))
    words = {"projection": "auto", "smoothing_mass": "adaptive", "form": "two-words"}
    assert log.criterion == {"_name": "labo", **words, "rho": 0.5} and log.max_update == 1200


@pytest.mark.parametrize(
    ("whole", "damaged"),
    [
        ("'rho': 0.5", "'rho': <odd>"),
        ("'labo'", "{'epoch': 1}"),  # found by the long fuzz test
        ("'labo'", "['labo']"),
        ("'labo'", "7"),
        ("{'_name': 'labo', 'rho': 0.5}", "['labo', 0.5]"),
    ],
)
def test_an_unreadable_configuration_is_unknown(tmp_path, whole, damaged):
    assert whole in CONFIG
    log = read(tmp_path, CONFIG.replace(whole, damaged), inner(10))
    assert log.criterion == {} and log.max_update is None


def test_kinds_of_lines():
    assert parse_line(inner(7))[0] == "train_inner"
    assert parse_line(epoch_end(1, 7, 1)) == ("train", {"epoch": 1, "num_updates": 7, "train_wall": 1, "wall": 0})
    assert parse_line(valid(7, 3).replace("valid_", "test_b_"))[0] == "test_b"
    assert parse_line("epoch 001") is None
