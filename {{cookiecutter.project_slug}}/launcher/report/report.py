"""A run as one page: what it learned, on what, how fast, and how to repeat it.

`report.html` loads nothing from anywhere, so it can be mailed or kept beside a paper. Text that
comes from a run reaches the page only through Jinja, which escapes it.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2

from launcher.common.files import write_file
from launcher.report import charts, runs, sections
from launcher.report.numbers import duration, figures, measured, percent, ratio, size

WARNING = "warning: "
FUNCTIONS = (figures, measured, percent, ratio, duration, size)
FILTERS = {function.__name__: function for function in FUNCTIONS}


def write(run_dir: str | Path) -> Path:
    """Write `report.html` into a run directory and return its path.

    Raises:
        RunError: no such directory, or no readable run.json in it.
    """
    run = runs.load(run_dir)
    path = run.path / "report.html"
    write_file(path, render(Path(__file__).with_name("report.html"), _describe(run)))
    return path


def render(template: Path, content: Mapping[str, Any], **filters: Callable) -> str:
    """Render a template, which may extend `page.html`.

    Args:
        filters: more than those that all pages have.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS | filters
    return environment.get_template(template.name).render(content)


def _describe(run: runs.Run) -> dict[str, Any]:
    """Everything that the page shows; sections that have nothing to show are empty."""
    record, gaps = run.record, list(run.gaps)
    learned = run.evaluation.get("sections")
    if run.evaluation and learned is None:
        gaps.append(
            "evaluation.json was written by an older trainer; train again for its sections."
        )
    data_sections = sections.prepare(run, "run.json", record.get("data_sections"), gaps)
    learned = sections.prepare(run, "evaluation.json", learned, gaps)
    phases = sorted(record["phases"].items(), key=lambda phase: phase[1])
    return {
        "run": run,
        "record": record,
        "sections": learned,
        "data_sections": data_sections,
        "warnings": _take_warnings(data_sections + learned),
        "gaps": gaps,
        "numbers": _tiles(run),
        "metrics": list(dict.fromkeys(id.removeprefix("val_") for id in run.metrics)),
        "phases": phases,
        "curves": _curves(run, [first for _, first in phases[1:]]),
        "utilisation": _utilisation(run),
        "commands": _commands(record),
        "facts": {
            "Flags": record.get("flags"),
            "Versions": record.get("versions"),
            "Machine": _machine(record.get("machine", {})),
            "Environment": record.get("environment"),
        },
    }


def _take_warnings(shown: list[dict[str, Any]]) -> list[str]:
    """Take the lines that begin with "warning: " out of their sections: they stand above all."""
    warnings = []
    for section in shown:
        lines = section["lines"]
        warnings += [line.removeprefix(WARNING) for line in lines if line.startswith(WARNING)]
        section["lines"] = [line for line in lines if not line.startswith(WARNING)]
    return warnings


def _tiles(run: runs.Run) -> list[dict[str, Any]]:
    """The numbers that a reader wants first."""
    tiles: list[dict[str, Any]] = []
    main = runs.main_metric(run)
    if main in run.metrics:
        is_share = main.endswith("accuracy")
        value, interval = measured(run.metrics[main], run.intervals.get(main), is_share)
        part = "held-out" if main.startswith("val_") else "training"
        note = f"{interval}, on {part} examples ({main})".removeprefix(", ")
        label = main.removeprefix("val_")
        tiles.append({"value": value, "label": label, "note": note, "main": True})
    if run.seconds is not None:
        note = "from start to end"
        tiles.append({"value": duration(run.seconds), "label": "duration", "note": note})
    for key, label, note in (
        ("rows_per_second", "examples a second", "while training"),
        ("parameters", "parameters", "in the model"),
    ):
        if key in run.record:
            tiles.append({"value": figures(run.record[key]), "label": label, "note": note})
    return tiles


def _curves(run: runs.Run, changes: Sequence[float]) -> list[dict[str, str]]:
    """A figure for each metric, training and evaluation in one.

    Args:
        changes: the epochs with which a phase begins, but for the first.
    """
    curves, epochs = [], run.history.get("epoch", [])
    for metric in dict.fromkeys(id.removeprefix("val_") for id in run.history if id != "epoch"):
        ids = {"training": metric, "evaluation": f"val_{metric}"}
        lines = {word: run.history[id] for word, id in ids.items() if id in run.history}
        known = {value for values in lines.values() for value in values if math.isfinite(value)}
        if not known or (metric == "learning_rate" and len(known) == 1):  # it is among the flags
            continue
        marks = _marks(run, f"val_{metric}") if len(epochs) > 1 else {}
        texts = [_describe_curve(word, epochs, values) for word, values in lines.items()]
        texts += [
            f"{word.capitalize()}: {figures(value)} in epoch {epoch}."
            for word, (epoch, value) in marks.items()
        ]
        image = charts.curves(epochs, lines, marks, changes)
        curves.append({"metric": metric, "text": " ".join(texts), "image": image})
    return curves


def _marks(run: runs.Run, metric: str) -> dict[str, tuple[int, float]]:
    """{word: (epoch, value)}: the epoch that was exported, and the best one if it is another."""
    pairs = zip(map(int, run.history["epoch"]), run.history.get(metric, []), strict=False)
    finite = {epoch: value for epoch, value in pairs if math.isfinite(value)}
    marks = {}
    if run.exported in finite:
        marks["exported"] = (run.exported, finite[run.exported])
    choose = max if runs.higher_is_better(metric) else min
    best = choose(finite, key=finite.get, default=run.exported)  # the earliest of equals
    if best != run.exported:
        marks["best"] = (best, finite[best])
    return marks


def _describe_curve(word: str, epochs: Sequence[float], values: Sequence[float]) -> str:
    """A curve for those who cannot see it, and for those who want the numbers."""
    text = f"{word.capitalize()}: {figures(values[0])} in epoch {epochs[0]:.0f}"
    if len(values) > 1:
        text += f", {figures(values[-1])} in epoch {epochs[-1]:.0f}"
    lost = sum(not math.isfinite(value) for value in values)
    return text + (f"; {lost} epoch(s) without a finite value." if lost else ".")


def _utilisation(run: runs.Run) -> list[dict[str, Any]]:
    """Figures of what was used; nothing for a run that was over before a second look."""
    samples, parts = run.utilisation, []
    seconds = samples.get("seconds", [])
    if len(seconds) < 3 or not all(map(math.isfinite, seconds)):
        return []
    for title, unit, scale, columns in (
        ("Processors", "% of all cores", 1, {"CPU": "cpu", "GPU": "gpu"}),
        ("Memory", "GB", 1e-9, {"main": "memory", "GPU": "gpu_memory"}),
    ):
        lines = {w: [v * scale for v in samples[c]] for w, c in columns.items() if c in samples}
        known = [v for values in lines.values() for v in values if math.isfinite(v)]
        if known:
            words = f"{title}: on average {figures(sum(known) / len(known))} {unit}, "
            words += f"at most {figures(max(known))}."
            figure = sections.draw_lines(seconds, "seconds", lines, height=2.2, bottom=0)
            parts.append({"title": f"{title}, {unit}", "words": words, **figure})
    return parts


def _commands(record: Mapping[str, Any]) -> list[str]:
    """The commands that make this run again."""
    commit, command = record.get("git", {}).get("commit"), record.get("command", [])
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    return lines + ([shlex.join(map(str, command))] if command else [])


def _machine(machine: Mapping[str, Any]) -> dict[str, Any]:
    memory = {"memory": size(machine["memory_bytes"])} if "memory_bytes" in machine else {}
    return {key: value for key, value in machine.items() if key != "memory_bytes"} | memory
