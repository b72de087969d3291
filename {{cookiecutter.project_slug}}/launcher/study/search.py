"""The search of a study: optuna suggests what to try, and keeps in `study.journal` what came of it.

optuna, since it resumes from a file, knows conditional parameters and starts in half a second; the
service's own library, google-vizier, refuses such parameters and needs an old JAX.
"""

from __future__ import annotations

import itertools
import math
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import optuna
from optuna.samplers import BaseSampler, PartialFixedSampler, RandomSampler, TPESampler
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

from launcher.jobfile.study import Parameter, StudySpec, Value
from launcher.report.numbers import shorten

optuna.logging.set_verbosity(optuna.logging.ERROR)
# It warns that some of what it offers may change; setup.py bounds its version.
warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)

NAME = "study"  # in its journal
SEED = 0  # of every study: the same file gives the same suggestions
FIRST = 5  # trials at random before the search learns; optuna's own 10 are most of a small study
UNFINISHED = "unfinished"
METHODS = {"GRID_SEARCH": "a grid", "RANDOM_SEARCH": "random search"}
WITH_VALUE = ("succeeded", "stopped early")  # the others: failed, infeasible


@dataclass(frozen=True)
class Trial:
    """One trial: what was tried, and what came of it."""

    id: int  # from 1, as on Vertex AI; the name of its directory
    parameters: dict[str, Value] = field(hash=False)
    state: str = UNFINISHED
    value: float | None = None  # of the metric; None where it has none that counts
    step: float | None = None  # at which the value was measured
    seconds: float = 0.0
    why: str = ""  # it failed, is infeasible, or was stopped early

    @property
    def counts(self) -> bool:
        return self.state in WITH_VALUE


class Search:
    """The optimiser of one study and its memory. For one thread."""

    def __init__(self, journal: Path, spec: StudySpec, count: int):
        """Open the study's memory, or make it.

        Args:
            count: trials that are wanted in all; `self.count` is less where a grid has less points.
        """
        self.spec, self.count, self.points = spec, count, None
        if spec.algorithm == "GRID_SEARCH":
            self.points = list(itertools.islice(grid(spec.parameters), count))
            self.count = len(self.points)
        cut_partial_line(journal)
        # Among processes the study's directory is locked already; see `directory`.
        self.storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=threading.Lock()))
        self.study = optuna.create_study(
            storage=self.storage,
            study_name=NAME,
            direction="maximize" if spec.maximize else "minimize",
            load_if_exists=True,
        )
        self.running: dict[int, optuna.Trial] = {}

    @property
    def method(self) -> str:
        """For people."""
        otherwise = f"Bayesian search (optuna {optuna.__version__}, TPE)"
        return METHODS.get(self.spec.algorithm, otherwise)

    def unfinished(self) -> list[Trial]:
        """The trials that ran when the study was last left; they are to run again."""
        study_id = self.storage.get_study_id_from_name(NAME)
        left = []
        for trial in self.study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            id = self.storage.get_trial_id_from_study_id_trial_number(study_id, trial.number)
            left.append(self._suggest(optuna.Trial(self.study, id), trial.number))
        return left

    def next(self) -> Trial | None:
        """A new trial; None when there are as many as are wanted."""
        number = len(self.study.get_trials(deepcopy=False))
        if number >= self.count:
            return None
        self.study.sampler = self._sampler(number)
        return self._suggest(self.study.ask(), number)

    def finish(self, trial: Trial) -> None:
        """Report to the optimiser what came of a trial."""
        outcome = asdict(trial)
        del outcome["id"], outcome["parameters"]
        handle = self.running.pop(trial.id)
        handle.set_user_attr("outcome", outcome)
        if trial.counts:
            self.study.tell(handle, trial.value)
        else:
            self.study.tell(handle, state=TrialState.FAIL)

    def trials(self) -> list[Trial]:
        """All trials so far, by id."""
        trials = []
        for trial in self.study.get_trials(deepcopy=False):
            outcome = trial.user_attrs["outcome"] if trial.state.is_finished() else {}
            parameters = trial.user_attrs.get("parameters", {})
            trials.append(Trial(trial.number + 1, parameters, **outcome))
        return trials

    def _suggest(self, handle: optuna.Trial, number: int) -> Trial:
        """Give the trial its parameters; those that it has already, it keeps."""
        self.study.sampler = self._sampler(number)
        chosen = suggest(self.spec.parameters, handle)
        handle.set_user_attr("parameters", chosen)
        self.running[number + 1] = handle
        return Trial(number + 1, chosen)

    def _sampler(self, number: int) -> BaseSampler:
        """A sampler of this trial's own: an interrupted study suggests what a whole one does."""
        if self.points:
            return PartialFixedSampler(self.points[number], RandomSampler(SEED))
        if self.spec.algorithm == "RANDOM_SEARCH":
            return RandomSampler(SEED + number)
        return TPESampler(seed=SEED + number, n_startup_trials=FIRST, multivariate=True, group=True)


def cut_partial_line(path: Path) -> None:
    """Cuts off a last line that a crash left half-written."""
    if path.exists():
        text = path.read_bytes()
        if not text.endswith(b"\n"):
            with open(path, "r+b") as file:
                file.truncate(text.rfind(b"\n") + 1)


def compute_importance(study: optuna.Study) -> dict[str, float]:
    """The share of each parameter in how good a trial is, by PED-ANOVA; {} if it cannot tell.

    It compares where the better trials lie with where all lie: optuna's only method without
    scikit-learn, which would slow every start of TensorFlow.
    """
    trials = study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
    if len(trials) < 8:
        return {}
    # The better tenth, as its authors have it, but of a small study four trials.
    best = max(0.1, 4 / len(trials))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=best)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a branch that few trials took is uncertain
            shares = optuna.importance.get_param_importances(study, evaluator=evaluator)
    except (ValueError, RuntimeError):  # all trials alike
        return {}
    return shares if all(map(math.isfinite, shares.values())) else {}


def everything(space: Sequence[Parameter]) -> Iterator[Parameter]:
    """Yield each parameter, followed by those below it."""
    for parameter in space:
        yield parameter
        yield from everything([child for _, child in parameter.children])


def suggest(space: Sequence[Parameter], trial) -> dict[str, Value]:
    """Let an optuna trial choose a value of each parameter that there is: {id: outer value}."""
    chosen = {}
    for parameter in space:
        key, log = parameter.key, parameter.scale != "linear"
        if parameter.kind == "categorical":
            inner = trial.suggest_categorical(key, parameter.values)
        elif parameter.kind == "double":
            inner = trial.suggest_float(key, parameter.low, parameter.high, log=log)
        else:
            inner = trial.suggest_int(key, parameter.low, parameter.high, log=log)
        chosen[parameter.id] = value = parameter.outer(inner)
        chosen |= suggest(parameter.brings(value), trial)
    return chosen


def grid(space: Sequence[Parameter]) -> Iterator[dict[str, Value]]:
    """Yield every point, as {key: inner value}; the last parameter changes fastest."""
    if not space:
        yield {}
        return
    first, *rest = space
    choices = first.values if first.kind == "categorical" else range(first.low, first.high + 1)
    for inner in choices:
        for below in grid(first.brings(first.outer(inner))):
            for others in grid(rest):
                yield {first.key: inner, **below, **others}


def list_flags(chosen: Mapping[str, Value]) -> list[str]:
    """As Vertex AI passes them: two words each; a discrete 32 as 32.0, since it is a double."""
    return [word for id, value in chosen.items() for word in (f"--{id}", format_value(value))]


def format_value(value: Value) -> str:
    """With all digits: the same text gives the same run."""
    return value if isinstance(value, str) else repr(value)


def describe(chosen: Mapping[str, Value]) -> str:
    """For people: "learning_rate 0.003, layers 2"."""
    return ", ".join(f"{id} {shorten(value)}" for id, value in chosen.items())
