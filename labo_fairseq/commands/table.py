"""One row per training run: method, BLEU, true perplexity, speed; ready to paste.

  labo table runs/multi30k.en-de.u2500/labo runs/multi30k.en-de.u2500/label_smoothed_cross_entropy

RUN is a folder with command.json, train.log, generate-test.txt and data, as scripts/quickstart.sh writes it. A run that
is missing or unfinished gets a row too; its status says what is wrong.

Columns: "share under P*" is the share of the updates that LABO ran after its warm-up; BLEU is of detokenized text, its
signature below; "BLEU (tokenized)" is fairseq's BLEU4; "true perplexity" is 2^nll_loss on the validation set at the
best checkpoint, without any smoothing; updates/s and minutes count the time inside training steps.
"""

import json

from ..analysis.runs import read_run, table, versions


def add_arguments(parser):
    """Declare the arguments of `labo table`."""
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folder of a training run")
    layout = parser.add_mutually_exclusive_group()
    layout.add_argument("--json", action="store_true", help="JSON with unrounded numbers instead of TSV")
    layout.add_argument("--markdown", action="store_true", help="a Markdown table instead of TSV")


def run(args):
    """Print the table of the runs; returns 0."""
    runs = [read_run(folder) for folder in args.runs]
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
