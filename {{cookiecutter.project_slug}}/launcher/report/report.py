"""A run as one page: what it learned, on what, how fast, and how to repeat it.

`report.html` loads nothing from anywhere, so it can be mailed or kept beside a paper. Text that
comes from a run reaches the page only through Jinja, which escapes it.
"""

from __future__ import annotations

import functools
import math
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from launcher.common.files import write_file
from launcher.common.times import format_span
from launcher.report import baselines, runs, sections
from launcher.report.numbers import figures, measured, percent, ratio, shorten

FILTERS = (figures, measured, percent, ratio, shorten, format_span)
# Of logs/utilisation.csv: {title: (unit, {word: column})}
UTILISATION = {
    "Processors, % of all cores": (1, {"CPU": "cpu", "GPU": "gpu"}),
    "Memory, GB": (1e9, {"main": "memory", "GPU": "gpu_memory"}),
}


def write(run_dir: str | Path) -> Path:
    """Write `report.html` into a run directory and return its path.

    Raises:
        RunError: no such directory, or no readable run in it.
    """
    run = runs.load(run_dir)
    path = run.path / "report.html"
    try:
        page = render(Path(__file__).with_name("report.html"), _describe(run))
    except (jinja2.UndefinedError, *runs.DAMAGED) as error:
        raise runs.RunError(f"{run.path}: its files cannot be drawn ({error!r})") from None
    write_file(path, page)
    return path


def render(template: Path, content: Mapping[str, Any]) -> str:
    """Render a template, which may extend `page.html`."""
    return _open_templates(template.parent).get_template(template.name).render(content)


@functools.cache  # a study has a page for each trial
def _open_templates(folder: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {function.__name__: function for function in FILTERS}
    return environment


def render_sections(shown: list, run_dir: Path) -> str:
    """A page of these sections alone.

    Args:
        run_dir: where the images of a gallery are.
    """
    ready, lost = sections.prepare(run_dir, shown)
    warnings = [line for section in ready for line in section["warnings"]]
    content = {"title": run_dir.name, "sections": ready, "warnings": warnings, "lost": lost}
    return render(Path(__file__).with_name("part.html"), content)


def _describe(run: runs.Run) -> dict[str, Any]:
    """Everything that the page shows; what a run has not left is empty."""
    data_sections, lost = sections.prepare(run.path, run.record.get("data_sections", []))
    evaluated = run.evaluation.get("sections", []) + baselines.read_section(run)
    learned, more = sections.prepare(run.path, evaluated)
    phases = sorted(run.record.get("phases", {}).items(), key=lambda phase: phase[1])
    return {
        "run": run,
        "record": run.record,
        "sections": learned,
        "data_sections": data_sections,
        "warnings": [line for shown in data_sections + learned for line in shown["warnings"]],
        "lost": lost + more,
        "main": runs.main_metric(run),
        "metrics": list(dict.fromkeys(id.removeprefix("val_") for id in run.metrics)),
        "phases": phases,
        "curves": _curves(run, [first for _, first in phases[1:]]),
        "utilisation": _utilisation(run.utilisation),
        "command": shlex.join(map(str, run.record.get("command", ()))),
    }


def _curves(run: runs.Run, changes: list[int]) -> list[dict[str, Any]]:
    """A figure for each metric, training and evaluation in one.

    Args:
        changes: the epochs with which a phase begins, but for the first.
    """
    curves, epochs = [], run.history.get("epoch", [])
    begun = [first for first in changes if epochs and first <= epochs[-1]]
    for metric in dict.fromkeys(id.removeprefix("val_") for id in run.history if id != "epoch"):
        ids = {"training": metric, "evaluation": f"val_{metric}"}
        lines = {word: run.history[id] for word, id in ids.items() if id in run.history}
        known = {value for values in lines.values() for value in values if math.isfinite(value)}
        if not known or (metric == "learning_rate" and len(known) == 1):  # it is among the flags
            continue
        exported = dict(zip(epochs, run.history.get(f"val_{metric}", ()), strict=False))
        options = {
            "counted": "epoch",
            "phases": begun,
            "mark": (run.exported, exported.get(run.exported)),
        }
        figure = sections.draw_lines(epochs, "epoch", lines, **options)
        curves.append({"metric": metric, "exported": exported.get(run.exported), **figure})
    return curves


def _utilisation(samples: dict[str, list[float]]) -> dict[str, dict[str, Any]]:
    """{title: figure} of what was used; nothing for a run that was over before a second look."""
    figures = {}
    for title, (unit, columns) in UTILISATION.items():
        lines = {word: samples[column] for word, column in columns.items() if column in samples}
        if len(samples.get("seconds", ())) > 2 and lines:
            scaled = {word: [value / unit for value in values] for word, values in lines.items()}
            options = {"height": 2.2, "bottom": 0}
            figures[title] = sections.draw_lines(samples["seconds"], "seconds", scaled, **options)
    return figures
