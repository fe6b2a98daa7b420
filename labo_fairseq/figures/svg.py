"""A figure of matplotlib as SVG within a page: its colours follow the page's theme, its values show on hover.

Text stays text. A colour of style.py becomes a variable of page.css (--c0 … for the lines), black becomes the colour of
the page's text. Each point of a line, each bar and each step gets an invisible mark with a <title> that says its value:
a browser shows it on hover, without a script.
"""

import io
import re
import xml.etree.ElementTree as ET

import numpy as np

from . import style

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_TIP = "tip:"  # begins the ids of the marks until they have their titles
_MOST = 80  # marks of one line; a longer line has them at equal distances

# colour as matplotlib writes it: the variable of page.css, with the colour itself for a page without it
THEME = {colour.lower(): f"var(--c{i}, {colour})" for i, colour in enumerate(style.COLOURS)}
THEME |= {colour.lower(): f"var(--s{i}, {colour})" for i, colour in enumerate(style.SPLIT_COLOURS)}
THEME |= {
    "#000000": "currentColor",
    style.GREY.lower(): "var(--quiet, #555555)",
    "#333333": "var(--quiet, #333333)",
    "#dddddd": "var(--line, #dddddd)",
    "#808080": "var(--quiet, #808080)",
}


def svg(figure, name):
    """The figure as an <svg> element, text. `name` is unique on the page: it keeps the ids of two figures apart.

    Adds invisible marks to the figure.
    """
    _add_marks(figure)
    stream = io.BytesIO()
    style.save_svg(figure, stream, salt=name)
    root = ET.fromstring(stream.getvalue())
    _drop(root, f"{{{_SVG}}}metadata", f"{{{_SVG}}}style")
    for group in [element for element in root.iter() if element.get("id", "").startswith(_TIP)]:
        _make_tip(group)
    referenced = _references(root)
    for element in root.iter():
        if element.get("id") not in referenced:  # figure_1, axes_1, …: the same in every figure
            element.attrib.pop("id", None)
    for size in ("width", "height"):
        root.attrib.pop(size, None)
    ET.register_namespace("", _SVG)
    ET.register_namespace("xlink", _XLINK)
    return _themed(ET.tostring(root, encoding="unicode"))


def _make_tip(group):
    """Turn the group of a mark into <g class="tip"> with a title and a circle, shorter than a marker's path."""
    mark = group.find(f".//{{{_SVG}}}use")
    text = group.get("id").removeprefix(_TIP)
    group.clear()
    group.set("class", "tip")
    ET.SubElement(group, f"{{{_SVG}}}title").text = text
    if mark is not None:
        place = {"cx": mark.get("x"), "cy": mark.get("y")}
        ET.SubElement(group, f"{{{_SVG}}}circle", {**place, "r": "5", "fill-opacity": "0"})


def _drop(root, *tags):
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in tags:
                parent.remove(child)


def _references(root):
    """The ids that something in the figure refers to."""
    found = set()
    for element in root.iter():
        for key, value in element.attrib.items():
            if key in ("href", f"{{{_XLINK}}}href"):
                found.add(value.removeprefix("#"))
            elif "url(#" in value:
                found.add(value.partition("url(#")[2].partition(")")[0])
    return found


def _themed(text):
    """Colours stand in style attributes, as `stroke: #0072b2`; the font is that of page.css."""
    text = re.sub('font-family: [^;"]*; ?', "", text)
    for colour, variable in THEME.items():
        text = text.replace(f": {colour}", f": {variable}")
    return text


# --- values on hover ---


def _add_marks(figure):
    figure.draw_without_rendering()  # fixes limits and ticks
    for axes in figure.axes:
        axes.set_autoscale_on(False)
        labels = _tick_labels(axes)
        marked = [*_marks_of_lines(axes, labels), *_marks_of_bars(axes, labels), *_marks_of_steps(axes)]
        for x, y, text in marked:
            if _inside(axes, x, y):
                axes.add_line(style.invisible_point(x, y, _TIP + text))


def _inside(axes, x, y):
    (left, right), (bottom, top) = sorted(axes.get_xlim()), sorted(axes.get_ylim())
    return left <= x <= right and bottom <= y <= top


def _tick_labels(axes):
    """{place: text} where the ticks carry words; {} where they are numbers of a scale."""
    # set_xticks(places, labels) leaves the latter or, on a scale of numbers, the former
    if type(axes.xaxis.get_major_formatter()).__name__ not in ("FuncFormatter", "FixedFormatter"):
        return {}
    texts = [label.get_text() for label in axes.get_xticklabels()]
    return {round(float(x), 6): text for x, text in zip(axes.get_xticks(), texts, strict=False) if text}


def _marks_of_lines(axes, labels):
    for line, label in _lines_of(axes):
        x, y = np.asarray(line.get_xdata(), float), np.asarray(line.get_ydata(), float)
        picked = np.linspace(0, len(x) - 1, min(len(x), _MOST)).round().astype(int)
        for i in np.unique(picked):
            if np.isfinite([x[i], y[i]]).all():
                yield x[i], y[i], _text(axes, label, labels.get(round(x[i], 6), f"{x[i]:.4g}"), y[i])


def _lines_of(axes):
    """(line, label) of the curves: no caps of error bars, no level or diagonal to compare with."""
    bars = [container for container in axes.containers if hasattr(container, "has_yerr")]
    caps = {cap for container in bars for cap in container[1]}
    labels = {container[0]: container.get_label() for container in bars}  # the line of error bars has none itself
    for line in axes.lines:
        level = line.get_transform() != axes.transData or (line.get_linestyle() == ":" and len(line.get_xdata()) == 2)
        if line not in caps and (line in labels or not level):
            yield line, labels.get(line, line.get_label())


def _marks_of_bars(axes, labels):
    for container in axes.containers:
        for bar in container:
            if not hasattr(bar, "get_height"):
                continue
            middle, height = bar.get_x() + bar.get_width() / 2, bar.get_height()
            nearest = min(labels, key=lambda place: abs(place - middle), default=None)
            where = f"{middle:.4g}" if nearest is None else labels[nearest]
            yield middle, height, _text(axes, container.get_label(), where, height)


def _marks_of_steps(axes):
    for patch in axes.patches:
        if not hasattr(patch, "get_data") or not hasattr(patch.get_data(), "edges"):
            continue
        values, edges, _ = patch.get_data()
        for value, low, high in zip(values, edges[:-1], edges[1:], strict=True):
            yield (low + high) / 2, value, _text(axes, patch.get_label(), f"{low:.3g}–{high:.3g}", value)


def _text(axes, label, x, y):
    """`labo; update 600: 3.12`; what has no label is called by its axis."""
    name = str(label).strip() if label and not str(label).startswith("_") else axes.get_ylabel()
    heading = axes.get_xlabel() or next((a.get_xlabel() for a in axes.figure.axes if a.get_xlabel()), "")
    return f"{name}; {heading} {x}: {y:.4g}".replace("  ", " ").removeprefix("; ").replace(r"\$", "$")
