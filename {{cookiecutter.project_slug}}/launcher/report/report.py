"""A run as one page: what it learned, on what, how fast, and how to repeat it.

`report.html` loads nothing from anywhere, so it can be mailed or kept beside a paper. Text that
comes from a run reaches the page only through Jinja, which escapes it.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from launcher.common.files import write_file
from launcher.report import charts, runs
from launcher.report import sections as report_sections


def write(run_dir: str | Path) -> Path:
    """Writes `report.html` into a run directory and returns its path.

    Raises:
        RunError: no such directory, or no readable run.json in it.
    """
    run = runs.load(run_dir)
    path = run.path / "report.html"
    write_file(path, render(Path(__file__).with_name("report.html"), _content(run)))
    return path


def render(template: Path, content: Mapping[str, Any], **filters: Callable) -> str:
    """The page of a template, with what it shows and filters beside the ones of all pages."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    numbers = {"figures": figures, "percent": percent, "ratio": ratio, "duration": duration}
    environment.filters |= numbers | filters
    return environment.get_template(template.name).render(content)


def _content(run: runs.Run) -> dict[str, Any]:
    """Everything that the page shows; sections that have nothing to show are None or empty."""
    record, gaps = run.record, list(run.gaps)
    phases, sections = _phases(record), run.evaluation.get("sections")
    if run.evaluation and sections is None:
        gaps.append(
            "evaluation.json was written by an older trainer; train again for its sections."
        )
    learned = report_sections.prepare(run, "evaluation.json", sections, gaps)
    data = report_sections.prepare(run, "run.json", record.get("data_sections"), gaps)
    return {
        "run": run,
        "project": record.get("project") or "",
        "recorded_name": record.get("name") or run.name,
        "started": f"{run.started:%Y-%m-%d %H:%M:%S} UTC" if run.started else None,
        "gaps": gaps,
        "tiles": _tiles(run),
        "metrics": _metrics(run),
        "curves": _curves(run, [first for _, first in phases[1:]]),
        "phases": phases,
        "sections": learned,
        "data_sections": data,
        "data": [_part(name, part) for name, part in record.get("data", {}).items()],
        "timings": _timings(record.get("timings", {})),
        "utilisation": _utilisation(run),
        "repeat": _repeat(record),
        "facts": {
            "Flags": record.get("flags", {}),
            "Versions": record.get("versions", {}),
            "Machine": _machine(record.get("machine", {})),
            "Environment": record.get("environment", {}),
        },
    }


# --- What it learned


def _tiles(run: runs.Run) -> list[dict[str, Any]]:
    """The numbers that a reader wants first."""
    tiles: list[dict[str, Any]] = []
    main = runs.main_metric(run)
    if main in run.metrics:
        show = percent if main.endswith("accuracy") else figures
        part = "held-out" if main.startswith("val_") else "training"
        note = f"on {part} examples ({main})"
        if error := run.standard_error(main):
            note += f", ± {show(error)}"
        label = main.removeprefix("val_")
        tiles.append({"value": show(run.metrics[main]), "label": label, "note": note, "main": True})
    if run.seconds is not None:
        note = "from start to end"
        tiles.append({"value": duration(run.seconds), "label": "duration", "note": note})
    if "rows_per_second" in run.record:
        value = figures(run.record["rows_per_second"])
        tiles.append({"value": value, "label": "examples a second", "note": "while training"})
    if "parameters" in run.record:
        value = figures(run.record["parameters"])
        tiles.append({"value": value, "label": "parameters", "note": "in the model"})
    return [{"main": False, **tile} for tile in tiles]


def _phases(record: Mapping[str, Any]) -> list[tuple[str, int]]:
    """(name, first epoch) in the order of happening; empty where nothing changed on the way."""
    firsts = {str(name): runs.number(first) for name, first in record.get("phases", {}).items()}
    phases = [(name, int(first)) for name, first in firsts.items() if abs(first) < 1e15]
    return sorted(phases, key=lambda phase: phase[1]) if len(phases) > 1 else []


def _metrics(run: runs.Run) -> list[dict[str, Any]]:
    """Values of the exported model, training beside evaluation: [{id, train, eval, …}]."""
    metrics, meanings = run.metrics, run.record.get("metric_meanings", {})
    return [
        {
            "id": id,
            "train": metrics.get(id),
            "eval": metrics.get(f"val_{id}"),
            "error": run.standard_error(f"val_{id}"),
            "meaning": meanings.get(id, ""),
        }
        for id in dict.fromkeys(id.removeprefix("val_") for id in metrics)
    ]


def _curves(run: runs.Run, changes: list[int]) -> list[dict[str, str]]:
    """A figure for each metric, training and evaluation in one.

    Args:
        changes: the epochs with which a phase begins, but for the first.
    """
    curves, history = [], run.history
    for metric in dict.fromkeys(id.removeprefix("val_") for id in history if id != "epoch"):
        ids = {"training": metric, "evaluation": f"val_{metric}"}
        lines = {word: history[id] for word, id in ids.items() if id in history}
        known = {value for values in lines.values() for value in values if math.isfinite(value)}
        if not known or (metric == "learning_rate" and len(known) == 1):  # it is among the flags
            continue
        texts = [_in_words(word, history["epoch"], values) for word, values in lines.items()]
        marks = _marks(run, f"val_{metric}") if len(history["epoch"]) > 1 else {}
        texts += [
            f"{word.capitalize()}: {figures(value)} in epoch {epoch}."
            for word, (epoch, value) in marks.items()
        ]
        image = charts.curves(history["epoch"], lines, marks, changes)
        curves.append({"metric": metric, "text": " ".join(texts), "image": image})
    return curves


def _marks(run: runs.Run, metric: str) -> dict[str, tuple[int, float]]:
    """{word: (epoch, value)}: the epoch that was exported, and the best one where it is another."""
    epochs, values = run.history["epoch"], run.history.get(metric, [])
    known = dict(zip(map(int, epochs), values, strict=False))
    marks, best = {}, runs.best(run, metric)
    if math.isfinite(known.get(run.exported, math.nan)):
        marks["exported"] = (run.exported, known[run.exported])
    if best and best != marks.get("exported"):
        marks["best"] = best
    return marks


def _in_words(word: str, epochs: list[float], values: list[float]) -> str:
    """A curve for those who cannot see it, and for those who want the numbers."""
    text = f"{word.capitalize()}: {figures(values[0])} in epoch {epochs[0]:.0f}"
    if len(values) > 1:
        text += f", {figures(values[-1])} in epoch {epochs[-1]:.0f}"
    lost = sum(not math.isfinite(value) for value in values)
    return text + (f"; {lost} epoch(s) without a finite value." if lost else ".")


# --- On what, how fast, and how again


def _part(name: str, part: Any) -> dict[str, Any]:
    """One part of the data: its rows and its files."""
    part = part if isinstance(part, dict) else {}
    listed = part.get("files")
    files = [file for file in listed if isinstance(file, dict)] if isinstance(listed, list) else []
    return {
        "name": {"train": "training", "eval": "evaluation"}.get(name, name),
        "rows": part.get("rows"),
        "dropped": part.get("dropped"),
        "files": [{"size": size(f.get("bytes")), **f} for f in files],
    }


def _timings(timings: Mapping[str, Any]) -> dict[str, Any] | None:
    """Seconds by stage in order of happening, and the largest."""
    seconds = {stage: runs.number(value) for stage, value in timings.items()}
    seconds = {stage: s for stage, s in seconds.items() if math.isfinite(s) and s >= 0}
    total = sum(seconds.values())
    if not total:
        return None
    slowest = max(seconds, key=seconds.get)
    return {
        "stages": [
            {"name": stage, "seconds": s, "share": s / total, "width": s / seconds[slowest]}
            for stage, s in seconds.items()
        ],
        "slowest": slowest,
        "total": total,
    }


def _utilisation(run: runs.Run) -> list[dict[str, str]]:
    """Figures of what was used; nothing for a run that was over before a second look."""
    samples = run.utilisation
    seconds = samples.get("seconds", [])
    if len(seconds) < 3 or not all(map(math.isfinite, seconds)):
        return []
    parts = []
    for title, unit, scale, columns in (
        ("Processors", "% of all cores", 1, {"CPU": "cpu", "GPU": "gpu"}),
        ("Memory", "GB", 1e-9, {"main": "memory", "GPU": "gpu_memory"}),
    ):
        lines = {w: [v * scale for v in samples[c]] for w, c in columns.items() if c in samples}
        known = [v for values in lines.values() for v in values if math.isfinite(v)]
        if known:
            figure = charts.shares(seconds, lines, unit)
            words = f"{title}: on average {figures(sum(known) / len(known))} {unit}, "
            words += f"at most {figures(max(known))}."
            parts.append({"title": title, "figure": figure, "words": words})
    return parts


def _repeat(record: Mapping[str, Any]) -> dict[str, Any]:
    """The commands that make this run again, and what could keep them from it."""
    git, command = record.get("git", {}), [str(word) for word in record.get("command", [])]
    commit = git.get("commit")
    lines = [f"git checkout {shlex.quote(str(commit))}"] if commit else []
    lines += [shlex.join(command)] if command else []
    same_place = any(word.split("=")[0].replace("_", "-") == "--job-dir" for word in command)
    return {"lines": lines, "commit": commit, "dirty": git.get("dirty"), "same_place": same_place}


def _machine(machine: Mapping[str, Any]) -> dict[str, Any]:
    memory = {"memory": size(machine["memory_bytes"])} if "memory_bytes" in machine else {}
    return {key: value for key, value in machine.items() if key != "memory_bytes"} | memory


# --- Numbers as people read them


def figures(value: Any) -> str:
    """Four significant digits; a dash for what is no number."""
    value = runs.number(value)
    if math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    whole = abs(value) < 1e15 and (abs(value) >= 1000 or value.is_integer())
    text = f"{abs(value):,.0f}" if whole else f"{abs(value):.4g}"
    return "−" + text if value < 0 else text


def percent(share: Any) -> str:
    share = runs.number(share)
    return f"{100 * share:.1f} %" if math.isfinite(share) else "–"


def ratio(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.3g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s"


def size(count: Any) -> str:
    """Bytes."""
    count = runs.number(count)
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{figures(count)} TB" if math.isfinite(count) else "–"
