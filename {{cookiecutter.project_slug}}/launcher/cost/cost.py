"""What a job costs: an estimate before it starts, and afterwards from its own times.

    cost.estimate(spec.load("configs/gpu.yaml"), "us-central1").lines()
    cost.spent(job, "us-central1", start, end).most

List prices in US dollars, from prices.yaml; taxes, discounts, free credits, storage and traffic are
not in them. A price that is not known makes the sum unknown; it never counts as 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timezone

from launcher.common.times import parse_time
from launcher.cost import prices
from launcher.cost.parts import CALLED, Part, dollars, part
from launcher.cost.prices import PriceError, Table
from launcher.jobfile.job import Job
from launcher.jobfile.machines import WITH_TPUS

__all__ = ["Estimate", "Part", "PriceError", "estimate", "known_max", "refuse_above", "spent"]

OLD = 90  # days, after which an estimate says how old its prices are
REFRESH = "python TEMPLATE/tools/refresh_prices.py"
PAGE = "write it into launcher/cost/prices.yaml, from https://cloud.google.com/vertex-ai/pricing"
Moment = datetime | str | None  # a text is RFC 3339, as the API writes it


@dataclass(frozen=True)
class Estimate:
    """Of a job, in USD; None is unknown.

    Of a study, per_hour is of as many trials as run at a time, most is of all of them.
    """

    per_hour: float | None
    most: float | None  # before: for the whole timeout, restarts included; after: what was spent
    hours: float  # before: the timeout; after: that machines ran; of all trials together
    parts: tuple[Part, ...]  # of one trial
    notes: tuple[str, ...] = ()
    trials: int = 0  # 0: no study
    parallel: int = 1
    over: bool = False  # after the job

    def lines(self) -> list[str]:
        """For a terminal."""
        lines, hours = [str(part) for part in self.parts], _duration(self.hours)
        hourly = "unknown" if self.per_hour is None else f"{dollars(self.per_hour)} an hour"
        amount = "unknown" if self.most is None else dollars(self.most)
        if self.trials and not self.over:
            lines.append(f"{self.trials} trials, {self.parallel} at a time: {hourly}")
        elif len(self.parts) > 1:
            lines.append(f"together: {hourly}")
        if self.over:
            lines.append(f"spent: {amount}, for {hours} of running")
        else:
            lines.append(f"at most: {amount}, for {hours}: the timeout, restarts included")
        return [*lines, *self.notes]


def estimate(
    job: Job, region: str, today: date | None = None, table: Table | None = None
) -> Estimate:
    """What a job may cost, before it starts.

    Args:
        job: as spec.load() gives it.
        region: where it will run, "us-central1".
        today: the day from which the age of the prices counts.
        table: other prices than those of prices.yaml.

    Raises:
        PriceError: prices.yaml cannot be read.
    """
    hours = job.scheduling.timeout / 3600
    hourly = _priced(job, region, today, table)
    if not job.tuning:
        return _for(hourly, hours)
    # Each trial has the timeout for itself. How many run at a time does not change the sum.
    parallel = min(job.trials, job.parallel)
    per_hour = None if hourly.per_hour is None else hourly.per_hour * parallel
    whole = _for(hourly, hours * job.trials)
    return replace(whole, per_hour=per_hour, trials=job.trials, parallel=parallel)


def spent(
    job: Job,
    region: str,
    start: Moment,
    end: Moment,
    *,
    trials: Sequence[tuple[Moment, Moment]] | None = None,
    today: date | None = None,
    table: Table | None = None,
) -> Estimate:
    """What a job cost, by its own times: the queue is free.

    Args:
        start: the job's startTime, since when its machines ran; None: they never did.
        end: the job's endTime; None: it runs now.
        trials: of a study, the (start, end) of each trial, which count instead of its own.

    Raises:
        PriceError: prices.yaml cannot be read, or a time is none.
    """
    times = [(start, end)] if trials is None else trials
    hours = sum(_hours(start, end) for start, end in times)
    estimate = replace(
        _for(_priced(job, region, today, table), hours), trials=len(trials or ()), over=True
    )
    if not any(start for start, _ in times):
        return replace(estimate, most=0.0, notes=("no machine ever ran, and the queue is free",))
    if all(end for start, end in times if start):
        return estimate
    return replace(estimate, notes=("so far: it is still running", *estimate.notes))


def known_max(estimate: Estimate, limit: float) -> bool:
    """Whether a job surely stays within a limit in USD: unknown is never within."""
    return estimate.most is not None and estimate.most <= limit


def refuse_above(estimate: Estimate, limit: float) -> None:
    """Lets a job pass that surely stays within a limit in USD.

    Raises:
        PriceError: it may cost more, or nobody knows.
    """
    if known_max(estimate, limit):
        return
    if estimate.most is None:
        what = f"what this job costs is unknown, and the limit is {dollars(limit)}"
        raise PriceError(": ".join((what, *estimate.notes[:1])))
    raise PriceError(
        f"this job may cost {dollars(estimate.most)}, and the limit is {dollars(limit)}:"
        " lower scheduling.timeout or the number of machines, or raise the limit"
    )


def _priced(job: Job, region: str, today: date | None, table: Table | None) -> Estimate:
    """A job, or a trial, by the hour."""
    table = prices.load() if table is None else table
    strategy = job.scheduling.strategy
    parts = tuple(part(pool, region, strategy, table) for pool in job.pools)
    known = parts and all(part.price is not None for part in parts)
    notes = tuple(_notes(parts, region, strategy, today or date.today()))
    return Estimate(sum(part.price for part in parts) if known else None, None, 0.0, parts, notes)


def _for(estimate: Estimate, hours: float) -> Estimate:
    hourly = estimate.per_hour
    return replace(estimate, hours=hours, most=None if hourly is None else hourly * hours)


def _notes(parts: Sequence[Part], region: str, strategy: str, today: date) -> Iterator[str]:
    called = CALLED.get(strategy, strategy)
    unknown = dict.fromkeys(name.partition(".")[0] for part in parts for name in part.unknown)
    if unknown or not parts:
        tpu = any(name.startswith(("TPU", *_TPUS)) for name in unknown)
        what = f"unknown price of {', '.join(unknown) or 'no machine'} in {region} ({called})"
        yield f"{what}: {PAGE if tpu else REFRESH}"
        if least := sum(part.least for part in parts):
            yield f"what is known comes to {dollars(least)} an hour"
    days = sorted(day for part in parts for day, _ in part.read)
    if days and (age := (today - days[0]).days) > OLD:
        several = f" to {days[-1]}, up to" if days[0] != days[-1] else ","
        yield f"prices of {days[0]}{several} {age} days old: {REFRESH}"
    if called == "spot":
        yield "spot prices change from month to month; time without machines is not billed"


_TPUS = tuple(name.partition("-")[0] for name in WITH_TPUS)


def _hours(start: Moment, end: Moment) -> float:
    if not start:
        return 0.0
    last = _time(end) if end else datetime.now(timezone.utc)
    return max(0.0, (last - _time(start)).total_seconds() / 3600)


def _time(value: datetime | str) -> datetime:
    if isinstance(value, str):
        try:
            return parse_time(value)
        except ValueError:
            raise PriceError(f"{value!r} is no time, such as 2026-08-01T10:00:00Z") from None
    return value if value.tzinfo else value.replace(tzinfo=timezone.utc)


def _duration(hours: float) -> str:
    """ "1 h 30 min", "45 s", "48 h" """
    seconds = round(hours * 3600)
    if seconds < 60:
        return f"{seconds} s"
    whole, minutes = divmod(round(seconds / 60), 60)
    return " ".join(f"{n:,} {unit}" for n, unit in ((whole, "h"), (minutes, "min")) if n)
