"""Export a checkpoint for the CTranslate2 engine, with its fitted temperature folded in.

The folder that is written is a plain CTranslate2 model: `labo translate` decodes with it, and so does any other program
that uses CTranslate2. Only a scalar temperature can be folded in. Needs ctranslate2 (pip install ctranslate2).

example:
  labo export --ctranslate2 checkpoint_best.pt --data data-bin --calibration calibration.json --out engine
  labo translate --model engine --reference test.bpe.de --remove-bpe test.bpe.en > generate-test.txt
"""

import sys


def add_arguments(parser):
    """Declare the arguments of `labo export`."""
    parser.add_argument("--ctranslate2", required=True, metavar="CKPT", help="checkpoint to export")
    parser.add_argument("--data", required=True, metavar="DIR", help="folder with its dictionaries, as for fairseq")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--calibration", metavar="FILE", help="fold in the temperature that this file holds for CKPT")
    parser.add_argument(
        "--calibration-mismatch", choices=["error", "warn"], default="error",
        help="what to do where FILE was fitted to another checkpoint or dictionary",
    )  # fmt: skip
    parser.add_argument("--user-dir", metavar="DIR", help="fairseq's --user-dir, for models that are defined there")


def run(args):
    """Export; returns 0. Raises UserError on what cannot be exported."""
    import logging
    from argparse import Namespace

    from fairseq import utils

    from . import register
    from .decoding import ctranslate2_model

    logging.basicConfig(format="labo export: %(levelname)s: %(message)s", level=logging.WARNING, stream=sys.stderr)
    register()
    utils.import_user_module(Namespace(user_dir=args.user_dir))
    strict = args.calibration_mismatch == "error"
    temperature = ctranslate2_model.export(args.ctranslate2, args.data, args.out, args.calibration, strict)
    print(f"{args.out}: written, T = {temperature:g}", file=sys.stderr)
    return 0
