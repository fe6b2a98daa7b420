"""Measure time and memory of losses (`loss`) and of whole training steps (`step`), against fairseq's label smoothing;
time of decoding (`decode`) with calibrators and with CTranslate2, against fairseq's; time of updates of an image
classifier (`images`), data included, against cross entropy; memory of the losses by vocabulary and width (`memory`),
computed, so that it needs neither time nor a GPU.

All candidates run in turn in one process, repetition by repetition, so that a machine whose speed drifts treats them
alike; the figure to quote is the ratio, the median of each repetition's. Memory is measured apart, a process for each
candidate.

example:
  labo benchmark loss --rows 3500 --width 256 --vocabulary 8000
  labo benchmark step --layers 3 --width 256 --vocabulary 8000 --json
  labo benchmark step --dtype bfloat16 --profile --only "labo adaptive, fused" --threads 1
  labo benchmark memory --rows 4096 --sizes 32000x512 32000x1024 --device cuda --dtype bfloat16
  labo benchmark images --image-dataset digits --arch resnet20 --batch-size 128 --repetitions 30
  labo benchmark decode --data data-bin --path CKPT --calibration calibration.json --engine DIR --threads 2
"""

import json

from ..records.tables import TextTable
from .numbers import count

SIZES = ["8000x256", "10000x512", "32000x512", "32000x1024", "50000x1024"]


def add_arguments(parser):
    """Flags of `labo benchmark`."""
    parser.add_argument("what", choices=["loss", "step", "decode", "images", "memory"], help="what to measure")
    parser.add_argument("--rows", type=int, default=3500, help="target tokens N of a batch")
    parser.add_argument("--width", type=count, default=256, help="width D of the hidden states")
    parser.add_argument("--vocabulary", type=count, default=8000, help="types V")
    parser.add_argument("--layers", type=count, default=3, help="step: layers of the encoder and of the decoder")
    parser.add_argument("--repetitions", type=count, default=9, help="timed runs of each candidate")
    parser.add_argument("--threads", type=int, default=0, help="number of CPU threads; 0: as torch chooses")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="where to run")
    parser.add_argument(
        "--clock",
        choices=["wall", "cpu"],
        default="wall",
        help="loss and step: wall time, or CPU time of this process (with --threads 1, where others compute too)",
    )
    parser.add_argument(
        "--dtype",
        choices=["float32", "bfloat16"],
        default="float32",
        help="type of the inputs; step: of the model, as under --bf16",
    )
    parser.add_argument("--loss-kernel", choices=["torch", "triton"], default="torch", help="loss: the row pass")
    parser.add_argument("--matmul-bf16", action="store_true", help="run our candidates with bf16 matrix products too")
    parser.add_argument(
        "--only", nargs="+", metavar="NAME", help="run only candidates whose name contains one of these words"
    )
    parser.add_argument("--no-memory", action="store_true", help="do not measure memory")
    parser.add_argument(
        "--profile",
        action="store_true",
        help="step: instead of the time, its shares in percent by module and by kind of operation, backward included",
    )
    memory = parser.add_argument_group("memory")
    memory.add_argument(
        "--sizes", nargs="+", default=SIZES, metavar="VxD", help="vocabulary and width of each model, as 32000x512"
    )
    memory.add_argument("--measure", action="store_true", help="also measure memory, in a process for each candidate")
    decode = parser.add_argument_group("decode")
    decode.add_argument("--data", metavar="DATA", help="folder of fairseq binaries; images: of the data set")
    decode.add_argument("--path", metavar="CKPT", help="checkpoint to decode with")
    decode.add_argument("--calibration", nargs="+", default=[], metavar="FILE", help="calibration files of CKPT")
    decode.add_argument("--engine", metavar="DIR", help="CKPT as `labo export` wrote it")
    decode.add_argument("--subset", default="test", help="subset to translate")
    decode.add_argument(
        "--sentences", type=count, default=1000, metavar="N", help="translate the first N sentences of --subset"
    )
    decode.add_argument("--beam", type=count, default=5, metavar="N", help="beam size")
    decode.add_argument("--batch-size", type=count, default=64, metavar="N", help="sentences in a batch; images too")
    images = parser.add_argument_group("images")
    images.add_argument("--image-dataset", default="digits", metavar="NAME", help="as for fairseq-train")
    images.add_argument("--arch", default="resnet20", help="architecture")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(args):
    """Measure, and print one row per candidate."""
    if args.what == "decode":
        from ..benchmark import decode as measure
    elif args.what == "images":
        from ..benchmark import images as measure
    elif args.what == "memory":
        from ..benchmark import memory as measure
    else:
        from ..benchmark import measure

    rows, setting = measure.run(args)
    if args.json:
        print(json.dumps({"setting": setting, "rows": rows}, indent=1))
        return
    note = "; ".join(f"{key} {value}" for key, value in setting.items())
    print(TextTable("", [list(rows[0]), *(list(map(_cell, row.values())) for row in rows)], [note]).as_tsv())


def _cell(value):
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3g}" if abs(value) < 1e-3 else f"{value:.3f}" if value < 10 else f"{value:.1f}"
    return str(value)
