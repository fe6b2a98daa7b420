"""Curves of `labo calibrate --sweep`: against the temperature, and against the beam size."""

from .style import legend_below, marked, new_figure, title

TITLES = {"BLEU": "BLEU", "ece": "ECE", "nll": "NLL (nats)", "length_ratio": "length ratio"}


def temperatures(rows):
    """A panel each for BLEU, ECE and NLL against T. rows: of Sweep.temperatures."""
    figure, panels = new_figure(3, 6.4, sharex=True)
    for axes, name in zip(panels, ("BLEU", "ece", "nll"), strict=True):
        axes.plot([row["T"] for row in rows], [row[name] for row in rows], **marked(0))
        axes.axvline(1, color="grey", linestyle=":", linewidth=1)
        axes.set_title(TITLES[name], **title())
    panels[-1].set_xlabel("temperature T")
    return figure


def beams(rows):
    """A panel each for BLEU and the length ratio against the beam size. rows: of Sweep.beams."""
    figure, panels = new_figure(2, 4.6, sharex=True)
    for axes, name in zip(panels, ("BLEU", "length_ratio"), strict=True):
        for i, calibrated in enumerate(("no", "yes")):
            points = [(row["beam"], row[name]) for row in rows if row["calibrated"] == calibrated]
            axes.plot(*zip(*points, strict=True), label=f"calibrated: {calibrated}", **marked(i))
        axes.set_title(TITLES[name], **title())
    sizes = sorted({row["beam"] for row in rows})
    panels[-1].set(xscale="log", xlabel="beam size")
    panels[-1].set_xticks(sizes, labels=map(str, sizes))
    panels[-1].minorticks_off()
    legend_below(figure, panels[0])
    return figure
