"""Plots of `scale.py`: panels for time, memory, and traffic where there is any."""

import math

import matplotlib
from matplotlib.figure import Figure
from measure import QUIET

# Okabe and Ito's palette, which colour-blind people can tell apart; markers differ, too.
COLOURS, MARKERS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7"), "os^D"
PANELS = {
    "clock": ("seconds by the clock", 1),
    "processor time": ("seconds of processor time", 1),
    "memory": ("MB at the peak", 1e6),
    "traffic": ("MB", 1e6),
}
STYLE = {
    "svg.hashsalt": "growth",  # the same points give the same bytes
    "svg.fonttype": "none",  # text stays text: small files
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#e6e6e6",
    "legend.frameon": False,
}


def is_quiet(point):
    """Whether a point was measured while the machine was ours alone."""
    return point["others"] is not None and point["others"] <= QUIET


@matplotlib.rc_context(STYLE)
def draw(found, unit, path):
    """Write a plot.

    Args:
        found: {size: {panel: {line: value}}}.
    """
    sizes = sorted(map(int, found))
    shown = [panel for panel in PANELS if panel in found[str(sizes[0])]]
    if not all(map(is_quiet, found.values())) and "clock" in shown:
        shown.remove("clock")  # beside others it says little
    figure = Figure((4 * len(shown), 3.4), layout="constrained")
    for axes, panel in zip(figure.subplots(1, len(shown), squeeze=False)[0], shown, strict=True):
        label, scale = PANELS[panel]
        lines = found[str(sizes[0])][panel]
        for name, colour, marker in zip(lines, COLOURS, MARKERS, strict=False):
            values = [found[str(size)][panel][name] / scale for size in sizes]
            values = [value or math.nan for value in values]
            axes.plot(sizes, values, marker=marker, color=colour, label=name.replace("`", ""))
        top = max(line.get_ydata()[-1] for line in axes.get_lines())
        guide = [top * size / sizes[-1] for size in sizes]
        axes.plot(sizes, guide, ":", color="#666666", linewidth=1, label="linear growth")
        drawn = [value for line in axes.get_lines()[:-1] for value in line.get_ydata() if value > 0]
        low, high = math.log10(min(drawn)), math.log10(max(drawn))
        axes.set(xscale="log", yscale="log", xlabel=unit, ylabel=label)
        axes.set_ylim(10 ** math.floor(low), 10 ** math.ceil(high + 0.3))  # whole decades
        axes.minorticks_off()
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,g}")
        if sizes[-1] < 10:
            axes.set_xticks(sizes, map(str, sizes))
        axes.legend(fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})
