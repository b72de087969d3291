"""A study that repeats each setting with other seeds: its mean, its spread, which setting is better."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from launcher.jobfile.study import Value
from launcher.report.numbers import figures, measured
from launcher.report.pairs import compare_pairs
from launcher.study import search
from launcher.study.search import Trial

SEED = "seed"  # the parameter whose values repeat a setting; all others make the setting


@dataclass(frozen=True)
class Setting:
    """The trials that differ in nothing but their seed."""

    parameters: Mapping[str, Value]
    values: dict[Value, float] = field(default_factory=dict)  # of the metric, by seed
    verdict: str = ""  # whether the best setting beats this one; "" for the best itself

    @property
    def name(self) -> str:
        """For people: "learning_rate 0.003"."""
        pairs = (f"{id} {search.shorten(value)}" for id, value in self.parameters.items())
        return ", ".join(pairs) or "these flags"

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def spread(self) -> float | None:
        """The standard deviation over the seeds."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None

    def describe(self) -> str:
        """Mean and spread: "0.12 ± 0.01"."""
        if not self.spread:
            return figures(self.mean)
        mean, _ = measured(self.mean, (self.mean - self.spread, self.mean + self.spread))
        return f"{mean} ± {self.spread:.2g}"


def compare_settings(trials: Sequence[Trial], metric: str, maximize: bool) -> list[Setting]:
    """The settings of a study, the best mean first; [] where its trials have no seed to vary."""
    settings: dict[tuple, Setting] = {}
    for trial in trials:
        if trial.counts and SEED in trial.parameters:
            others = {id: value for id, value in trial.parameters.items() if id != SEED}
            setting = settings.setdefault(tuple(others.items()), Setting(others))
            setting.values[trial.parameters[SEED]] = trial.value
    if all(len(setting.values) < 2 for setting in settings.values()):
        return []
    ranked = sorted(settings.values(), key=lambda s: -s.mean if maximize else s.mean)
    best = ranked[0]
    return [best, *(replace(s, verdict=_judge(best, s, metric, maximize)) for s in ranked[1:])]


def _judge(best: Setting, other: Setting, metric: str, maximize: bool) -> str:
    """Whether the best setting beats another one, over the seeds that both have."""
    seeds = [seed for seed in best.values if seed in other.values]
    pair = [[setting.values[seed] for seed in seeds] for setting in (best, other)]
    gain = compare_pairs(*(pair if maximize else reversed(pair)))
    verb = "beats" if gain.is_clear else "does not clearly beat"
    what = f"{metric} is better by {gain}, over the same {gain.pairs} seeds"
    advice = "" if gain.is_clear else "; more seeds may show more"
    return f"{best.name} {verb} {other.name}: {what}{advice}."
