"""labo export: the converted model gives log softmax(z/T) of the fairseq model, or nothing is written."""

import json
import math
from types import SimpleNamespace

import pytest
import torch
from _models import make_model, make_task

from labo_fairseq.calibration.file import Calibration, Decoding, Member, dictionary_record, save
from labo_fairseq.cli import main
from labo_fairseq.decoding import export
from labo_fairseq.errors import UserError
from labo_fairseq.files import sha256
from labo_fairseq.functional.calibrators import Grouped, Temperature

ctranslate2 = pytest.importorskip("ctranslate2", reason="ctranslate2 is not installed: pip install labo_fairseq[fast]")

VARIANTS = {
    "post-norm, tied": {},
    "untied": {"tied": False},
    "pre-norm": {"encoder.normalize_before": True, "decoder.normalize_before": True},
    "norms differ": {"encoder.normalize_before": True},
    "heads and depths differ": {"encoder.attention_heads": 4, "decoder.layers": 2},
    "no final norm": {"decoder.normalize_before": True, "no_decoder_final_norm": True},
    "learned positions": {"encoder.learned_pos": True, "decoder.learned_pos": True},
    "norm of embeddings": {"layernorm_embedding": True},
    "gelu, embeddings not scaled": {"activation_fn": "gelu", "no_scale_embedding": True},
    "gelu_fast": {"activation_fn": "gelu_fast"},
}


def translation_task():
    task = make_task()
    task.cfg = SimpleNamespace(_name="translation", source_lang="de", target_lang="en")
    return task


def build(task, tied=True, **settings):
    """A small model with random biases and norms; settings of one side are named encoder.x, decoder.x."""
    from fairseq.models.transformer.transformer_config import DecoderConfig, EncDecBaseConfig

    # new objects: those of TransformerConfig are shared by all of its instances
    overrides = {"encoder": EncDecBaseConfig(), "decoder": DecoderConfig(input_dim=16, output_dim=16)}
    for part in overrides.values():
        part.embed_dim, part.ffn_embed_dim, part.layers, part.attention_heads = 16, 32, 1, 2
    for name, value in settings.items():
        side, _, inner = name.rpartition(".")
        if side:
            setattr(overrides[side], inner, value)
        else:
            overrides[name] = value
    model = make_model(task, tied=tied, **overrides)
    with torch.no_grad():  # biases and norms start at 0 and 1, where a mistake could not be seen
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(5)))
    return model.eval().requires_grad_(False)


def converted(model, task, folder, temperature=1.0):
    spec = export.transformer_spec(model, task, temperature)
    spec.validate()
    spec.optimize()
    folder.mkdir()
    spec.save(str(folder))
    return ctranslate2.Translator(str(folder), compute_type="float32")


def log_softmax_of_divided_logits(model, eos, source, target, temperature):
    """(tokens + 1,) nats, in one batch of one sentence."""
    logits = model(torch.tensor([[*source, eos]]), torch.tensor([len(source) + 1]), torch.tensor([[eos, *target]]))[0][
        0
    ]
    rows = torch.log_softmax(logits / temperature, -1)
    return torch.tensor([float(row[k]) for row, k in zip(rows, [*target, eos], strict=True)])


@pytest.mark.parametrize("temperature", [1.0, 1.7])
@pytest.mark.parametrize("variant", VARIANTS)
def test_scores_are_those_of_the_divided_logits(variant, temperature, tmp_path):
    task = translation_task()
    model = build(task, **VARIANTS[variant])
    translator = converted(model, task, tmp_path / "model", temperature)
    symbols, eos = task.source_dictionary.symbols, task.source_dictionary.eos()
    for source, target in (([5, 9, 4], [7, 7, 12, 6]), ([20, 4, 11, 8, 15, 6], [5]), ([], [9, 10])):
        expected = log_softmax_of_divided_logits(model, eos, source, target, temperature)
        got = translator.score_batch([[symbols[i] for i in source]], [[symbols[i] for i in target]])[0]
        assert got.tokens[-1] == "</s>"
        torch.testing.assert_close(torch.tensor(got.log_probs), expected, rtol=0, atol=2e-5)


def test_a_tied_weight_is_stored_once_and_twice_where_a_temperature_unties_it(tmp_path):
    task = translation_task()
    model = build(task)
    sizes = {}
    for temperature in (1.0, 1.7):
        converted(model, task, tmp_path / str(temperature), temperature)
        sizes[temperature] = (tmp_path / str(temperature) / "model.bin").stat().st_size
    weight = 4 * model.decoder.output_projection.weight.numel()
    assert 0.9 * weight < sizes[1.7] - sizes[1.0] < 1.1 * weight


@pytest.mark.parametrize(
    "settings, named",
    [
        ({"no_token_positional_embeddings": True}, "--no-token-positional-embeddings"),
        ({"activation_fn": "tanh"}, "--activation-fn tanh"),
        ({"scale_attn": True}, "--scale-attn"),
        ({"scale_resids": True}, "--scale-resids"),
        ({"no_cross_attention": True}, "--no-cross-attention"),
    ],
)
def test_options_that_ctranslate2_lacks_are_named(settings, named):
    task = translation_task()
    with pytest.raises(UserError, match=named):
        export.transformer_spec(build(task, **settings), task)


def test_other_architectures_and_tasks_are_refused():
    task = translation_task()
    model = build(task)
    task.cfg._name = "translation_multi_simple_epoch"
    with pytest.raises(UserError, match="task translation_multi_simple_epoch"):
        export.transformer_spec(model, task)
    task.cfg._name = "translation"
    model.decoder.__class__ = type("MyDecoder", (type(model.decoder),), {})
    with pytest.raises(UserError, match="architecture MyDecoder"):
        export.transformer_spec(model, task)


def test_a_model_that_computes_something_else_is_not_exported(monkeypatch, tmp_path, capsys):
    task = translation_task()
    model = build(task)
    model.decoder.layers[0].register_forward_hook(lambda module, inputs, output: (1.1 * output[0], *output[1:]))
    monkeypatch.setattr(export, "load_fairseq_model", lambda checkpoint, data: (model, task))
    checkpoint = tmp_path / "checkpoint.pt"
    checkpoint.write_bytes(b"weights")
    line = ["export", "--ctranslate2", checkpoint, "--data", tmp_path, "--out", tmp_path / "out"]
    assert main(list(map(str, line))) == 2
    assert "gives other scores" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


# --- the calibration file ---


@pytest.fixture
def exporting(monkeypatch, tmp_path):
    """Function: exporting(calibrators, *flags, digest=, dictionary=) -> exit code of `labo export`."""
    task = translation_task()
    monkeypatch.setattr(export, "load_fairseq_model", lambda checkpoint, data: (build(task), task))
    checkpoint, calibration = tmp_path / "checkpoint.pt", tmp_path / "calibration.json"
    checkpoint.write_bytes(b"weights")

    def run(calibrators, *flags, digest=None, dictionary=None, decoding=None):
        members = [Member(checkpoint.name, digest or sha256(checkpoint), calibrator) for calibrator in calibrators]
        record = dictionary or dictionary_record(task.target_dictionary)
        save(Calibration(members, record, {}, decoding=decoding), calibration)
        line = ["export", "--ctranslate2", checkpoint, "--data", tmp_path, "--out", tmp_path / "out"]
        return main(list(map(str, [*line, "--calibration", calibration, *flags])))

    return run


def test_the_temperature_is_folded_in_and_recorded(exporting, tmp_path, capsys):
    assert exporting([Temperature(1.7)]) == 0
    record = json.loads((tmp_path / "out" / "labo.json").read_text())
    assert record["temperature"] == 1.7 and record["source_lang"] == "de"
    assert "temperature\t1.7\n" in capsys.readouterr().out
    assert not list(tmp_path.glob(".out*"))


DECODING = Decoding(1.3, 0.5, -0.75, {"beam": 5, "max_len_a": 0.0, "max_len_b": 200}, {"metric": "BLEU"})


@pytest.mark.parametrize("variant", ["post-norm, tied", "untied"])
@pytest.mark.parametrize("temperature, bias", [(1.0, -1.5), (1.7, 2.0), (0.6, 0.5)])
def test_an_eos_bias_is_that_of_the_logits(variant, temperature, bias, tmp_path):
    task = translation_task()
    model = build(task, **VARIANTS[variant])
    spec = export.transformer_spec(model, task, temperature, bias)
    spec.validate()
    spec.optimize()
    (tmp_path / "model").mkdir()
    spec.save(str(tmp_path / "model"))
    translator = ctranslate2.Translator(str(tmp_path / "model"), compute_type="float32")
    eos = task.target_dictionary.eos()
    source, target = [5, 9, 7], [8, 6, 12, 4]
    with torch.no_grad():
        logits, _ = model(torch.tensor([[*source, eos]]), torch.tensor([4]), torch.tensor([[eos, *target]]))
    weights = (logits[0].double() / temperature).exp()
    weights[:, eos] *= math.exp(bias)  # a bias of the logit is a factor of the weight
    probs = weights / weights.sum(-1, keepdim=True)
    expected = probs[torch.arange(5), [*target, eos]].log()
    symbols = task.target_dictionary.symbols
    got = translator.score_batch([[symbols[i] for i in source]], [[symbols[i] for i in target]])[0].log_probs
    assert got == pytest.approx(expected.tolist(), abs=1e-5)


def test_tuned_decoding_is_folded_in_and_recorded(exporting, tmp_path, capsys):
    assert exporting([Temperature(1.7)], decoding=DECODING) == 0
    record = json.loads((tmp_path / "out" / "labo.json").read_text())
    assert record["temperature"] == pytest.approx(0.85) and record["eos_bias"] == -0.75 and record["lenpen"] == 1.3
    assert "temperature\t0.85\neos_bias\t-0.75\nlenpen\t1.3\n" in capsys.readouterr().out


def test_tuned_decoding_may_be_left_out(exporting, tmp_path, capsys):
    assert exporting([Temperature(1.7)], "--tuned-decoding", "ignore", decoding=DECODING) == 0
    record = json.loads((tmp_path / "out" / "labo.json").read_text())
    assert (record["temperature"], record["eos_bias"], record["lenpen"]) == (1.7, 0.0, 1.0)
    assert "lenpen" not in capsys.readouterr().out


def test_what_does_not_fold_is_refused(exporting, tmp_path, capsys):
    types = len(make_task().target_dictionary)
    grouped = Grouped(torch.tensor([1.0, 1.2]), torch.zeros(types, dtype=torch.int64), 2, 0.1)
    assert exporting([grouped]) == 2
    assert "its calibrator is grouped: only a scalar temperature folds" in capsys.readouterr().err
    assert exporting([Temperature(1.1), Temperature(1.2)]) == 2
    assert "holds 2 members" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "foreign, named",
    [({"digest": "0" * 64}, "another checkpoint"), ({"dictionary": {"sha256": "0", "types": 9}}, "another dictionary")],
)
def test_a_foreign_calibration_is_refused_or_warned_of(exporting, foreign, named, capsys):
    assert exporting([Temperature(1.7)], **foreign) == 2
    assert named in capsys.readouterr().err
    assert exporting([Temperature(1.7)], "--calibration-mismatch", "warn", **foreign) == 0
    assert named in capsys.readouterr().err


def test_an_existing_folder_is_left_alone(exporting, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "precious").write_text("")
    assert exporting([Temperature(1.7)]) == 2
    assert "exists already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["precious"]


# --- the checkpoint file ---


class Payload:
    def __reduce__(self):
        return (print, ("code of the checkpoint ran",))


def test_code_in_a_checkpoint_is_not_run(tiny_bin, tmp_path, capsys):
    torch.save({"cfg": Payload(), "model": {}}, tmp_path / "evil.pt")
    line = ["export", "--ctranslate2", tmp_path / "evil.pt", "--data", tiny_bin, "--out", tmp_path / "out"]
    assert main(list(map(str, line))) == 2
    captured = capsys.readouterr()
    assert "contains code" in captured.err and "code of the checkpoint ran" not in captured.out


def test_missing_files_are_named(tiny_bin, tmp_path, capsys):
    for checkpoint, data in ((tmp_path / "none.pt", tiny_bin), (__file__, tmp_path / "none")):
        line = ["export", "--ctranslate2", checkpoint, "--data", data, "--out", tmp_path / "out"]
        assert main(list(map(str, line))) == 2
        assert "none" in capsys.readouterr().err
