"""A study that repeats each setting with other seeds or folds: its mean and spread, which is better."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from launcher.jobfile.study import Value
from launcher.report.numbers import figures, measured
from launcher.report.pairs import compare_pairs
from launcher.study import search
from launcher.study.search import Trial

REPEATS = ("seed", "fold")  # parameters whose values repeat a setting; all others make the setting


@dataclass(frozen=True)
class Setting:
    """The trials that differ in nothing but their seed, or their fold."""

    parameters: Mapping[str, Value]
    repeats: str  # "seeds", "folds", or both
    values: dict[tuple[Value, ...], float] = field(default_factory=dict)  # of the metric, by repeat
    verdict: str = ""  # whether the best setting beats this one; "" for the best itself

    @property
    def name(self) -> str:
        """For people: "learning_rate 0.003"."""
        return search.describe(self.parameters) or "these flags"

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def spread(self) -> float | None:
        """The standard deviation over the repeats."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def describe(self) -> str:
        """Mean and spread: "0.12 ± 0.01"."""
        if not self.spread:
            return figures(self.mean)
        mean, _ = measured(self.mean, (self.mean - self.spread, self.mean + self.spread))
        return f"{mean} ± {self.spread:.2g}"


def compare_settings(trials: Sequence[Trial], metric: str, maximize: bool) -> list[Setting]:
    """The settings of a study, the best mean first; [] where its trials have no seed or fold."""
    settings: dict[tuple, Setting] = {}
    for trial in trials:
        repeats = {id: trial.parameters[id] for id in REPEATS if id in trial.parameters}
        if trial.counts and repeats:
            others = {id: v for id, v in trial.parameters.items() if id not in repeats}
            new = Setting(others, " and ".join(f"{id}s" for id in repeats))
            setting = settings.setdefault(tuple(others.items()), new)
            setting.values[tuple(repeats.values())] = trial.value
    if all(len(setting.values) < 2 for setting in settings.values()):
        return []
    ranked = sorted(settings.values(), key=lambda s: -s.mean if maximize else s.mean)
    best = ranked[0]
    return [best, *(replace(s, verdict=_judge(best, s, metric, maximize)) for s in ranked[1:])]


def _judge(best: Setting, other: Setting, metric: str, maximize: bool) -> str:
    """Whether the best setting beats another one, over the repeats that both have."""
    both = [repeat for repeat in best.values if repeat in other.values]
    pair = [[setting.values[repeat] for repeat in both] for setting in (best, other)]
    gain = compare_pairs(*(pair if maximize else reversed(pair)))
    verb = "beats" if gain.is_clear else "does not clearly beat"
    what = f"{metric} is better by {gain}, over the same {gain.pairs} {best.repeats}"
    advice = "" if gain.is_clear else f"; more {best.repeats} may show more"
    return f"{best.name} {verb} {other.name}: {what}{advice}."
