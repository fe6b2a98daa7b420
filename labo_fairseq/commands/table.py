"""Show one row per training run: method, BLEU, true perplexity, speed; ready to paste.

  labo table runs/multi30k.en-de.u2500/labo runs/multi30k.en-de.u2500/label_smoothed_cross_entropy
  labo table checkpoints/labo --log labo=labo.log --system labo=labo.gen.txt --data data/en-de

RUN is the folder of a training: one with command.json, train.log, generate-test.txt and data, as scripts/quickstart.sh
writes it, or an ordinary --save-dir. In that the log is train.log, else the one file that fairseq-train has written,
the translations generate-test.txt (from fairseq-generate --results-path), else the one file with H- lines. Files that
lie elsewhere are named with --log and --system, by the name of the folder or, without a RUN, by any name. --data names
the corpus (`labo prepare`) that has the references. A run that is missing or unfinished gets a row too; its status says
what is wrong.

Columns: "share under P*" is the share of the updates that LABO ran after its warm-up; BLEU is of detokenized text, its
signature below; "BLEU (tokenized)" is fairseq's BLEU4; "true perplexity" is 2^nll_loss on the validation set at the
best checkpoint, without any smoothing; updates/s and minutes count the time inside training steps.
"""

import json

from ..analysis.runs import read_run, read_run_files, table, versions
from .arguments import add_run_arguments, runs_of


def add_arguments(parser):
    """Declare the arguments of `labo table`."""
    add_run_arguments(parser)
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument("--json", action="store_true", help="print JSON with unrounded numbers instead of TSV")
    layout.add_argument("--markdown", action="store_true", help="print a Markdown table instead of TSV")


def run(args):
    """Print the table of the runs; returns 0. Raises UserError on bad arguments."""
    if args.runs and not (args.system or args.log or args.data):
        runs = [read_run(folder) for folder in args.runs]  # a folder that is not there gets a row too
    else:
        runs = [read_run_files(files) for files in runs_of(args).values()]
    if args.json:
        print(_as_json(runs))
    elif args.markdown:
        print(table(runs).as_markdown())
    else:
        print(table(runs).as_tsv())
    return 0


def _as_json(runs):
    rows = [
        {
            "run": run.name,
            "method": run.method,
            "updates": run.updates,
            "share_under_p_star": run.share_under_p_star,
            "bleu": run.bleu and vars(run.bleu),
            "tokenized_bleu": run.tokenized_bleu and vars(run.tokenized_bleu),
            "perplexity": run.perplexity,
            "updates_per_second": run.updates_per_second,
            "minutes": run.minutes,
            "synthetic": run.synthetic,
            "status": run.status,
        }
        for run in runs
    ]
    return json.dumps({"runs": rows, "versions": versions()}, indent=2, ensure_ascii=False)
