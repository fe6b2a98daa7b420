"""One row per training run: method, BLEU, true perplexity, speed; ready to paste.

  labo table runs/multi30k.en-de.u2500/labo runs/multi30k.en-de.u2500/label_smoothed_cross_entropy

RUN is a folder with command.json, train.log, generate-test.txt and data, as scripts/quickstart.sh writes it. A run that
is missing or unfinished gets a row too; its status says what is wrong.

Columns: "share under P*" is the share of the updates that LABO ran after its warm-up; BLEU is of detokenized text, its
signature below; "BLEU (tokenized)" is fairseq's BLEU4; "true perplexity" is 2^nll_loss on the validation set at the
best checkpoint, without any smoothing; updates/s and minutes count the time inside training steps.
"""

import json
from importlib import metadata

from .. import __version__
from .run_folder import read_run

# heading: how a Run shows under it
COLUMNS = {
    "run": lambda run: run.name,
    "method": lambda run: run.method,
    "updates": lambda run: _shown(run.updates, "d"),
    "share under P*": lambda run: _shown(run.share_under_p_star, ".2f"),
    "BLEU": lambda run: _shown(run.bleu and run.bleu.value, ".2f"),
    "BLEU (tokenized)": lambda run: _shown(run.tokenized_bleu and run.tokenized_bleu.value, ".2f"),
    "true perplexity": lambda run: _shown(run.perplexity, ".2f"),
    "updates/s": lambda run: _shown(run.updates_per_second, ".2f"),
    "minutes": lambda run: _shown(run.minutes, ".1f"),
    "status": lambda run: run.status,
}
NUMBERS = list(COLUMNS)[2:-1]
PACKAGES = ("fairseq", "torch", "sacrebleu")


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
        print(_as_markdown(runs))
    else:
        print(_as_tsv(runs))
    return 0


def notes(runs):
    """Lines that belong below the table: signatures, versions and, for made-up data, that it is."""
    lines = [f"{name}: {signature}" for name, signature in _signatures(runs)]
    if any(run.synthetic for run in runs):
        lines.append("synthetic corpus: made from a grammar; these scores say nothing about real translation")
    lines.append(", ".join(f"{name} {version}" for name, version in versions().items()))
    return lines


def versions():
    """{package: version} of what is installed here, without importing it."""
    found = {"labo_fairseq": __version__}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found


def _signatures(runs):
    scores = [score for run in runs for score in (run.bleu, run.tokenized_bleu) if score]
    return list(dict.fromkeys((score.metric, score.signature) for score in scores))


def _as_tsv(runs):
    lines = ["\t".join(COLUMNS)]
    lines += ["\t".join(_cell(show(run)) for show in COLUMNS.values()) for run in runs]
    return "\n".join(lines + [f"# {note}" for note in notes(runs)])


def _as_markdown(runs):
    rows = [list(COLUMNS), ["--:" if name in NUMBERS else "---" for name in COLUMNS]]
    rows += [[_cell(show(run)).replace("|", "\\|") for show in COLUMNS.values()] for run in runs]
    table = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([*table, "", *(f"- {note}" for note in notes(runs))])


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


def _shown(value, layout):
    return "–" if value is None else format(value, layout)


def _cell(text):
    """Text without the characters that would break a row."""
    return " ".join(text.split())
