"""Write a fairseq Transformer as a CTranslate2 model, with a fitted temperature folded in; `labo translate` runs it.

  labo export --ctranslate2 checkpoints/checkpoint_best.pt --data data/bin --calibration calibration.json --out fast
  labo translate fast --data data/bin --remove-bpe --tokenizer moses > generate-test.txt

softmax(z/T) is the same model with weight and bias of the output projection divided by T; embeddings that share the
projection's weight keep their own copy then. Where `labo calibrate --tune-decoding` completed the calibration, its
temperature and EOS bias are folded in too, and its length penalty is what `labo translate` takes by default. After the
conversion both models score a few made-up sentences, and the folder appears under its name only if they agree; the
largest difference is printed. --quantization int8 stores weights in a byte each; how far the scores of those sentences
are then off is printed too, and it is for you to judge. CTranslate2 runs one model: for an ensemble use
fairseq-generate, or make one model of several with `labo average`.

The checkpoint is read as fairseq-generate reads it here, with weights_only=True. Needs ctranslate2:
`labo doctor` says how to install it.
"""


def add_arguments(parser):
    """Flags of `labo export`."""
    parser.add_argument("--ctranslate2", metavar="CKPT", required=True, help="checkpoint of fairseq to convert")
    parser.add_argument("--data", metavar="DIR", required=True, help="fairseq's binaries: the dictionaries are read")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder to make; it must not exist yet")
    parser.add_argument(
        "--calibration", metavar="FILE", help="calibration.json of `labo calibrate`: its temperature is folded in"
    )
    parser.add_argument(
        "--quantization",
        metavar="TYPE",
        default="float32",
        help="how the weights are stored: float32, float16, bfloat16, int16, int8, int8_float16 or int8_bfloat16",
    )
    parser.add_argument(
        "--calibration-mismatch",
        choices=["refuse", "warn"],
        default="refuse",
        help="what to do with a calibration of another checkpoint or dictionary",
    )
    parser.add_argument(
        "--tuned-decoding",
        choices=["use", "ignore"],
        default="use",
        help="what to do with the settings of `labo calibrate --tune-decoding` in the calibration",
    )


def run(args):
    """Convert, and print what was folded in; returns 0. Raises UserError on bad input."""
    from ..decoding.export import export_ctranslate2

    done = export_ctranslate2(
        args.ctranslate2,
        args.data,
        args.out,
        args.calibration,
        args.calibration_mismatch,
        args.tuned_decoding == "use",
        args.quantization,
    )
    print(f"temperature\t{done.decoding.temperature:.6g}")
    if done.decoding.measures:
        print(f"eos_bias\t{done.decoding.eos_bias:.6g}\nlenpen\t{done.decoding.lenpen:.6g}")
    print(f"largest_difference_nats\t{done.difference:.2g}")
    if done.quantization_difference is not None:
        print(f"quantization_difference_nats\t{done.quantization_difference:.2g}")
    print(f"folder\t{args.out}")
    return 0
