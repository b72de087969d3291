"""What a job costs: an estimate before it starts, and afterwards from its own times.

    cost.estimate(spec.load("configs/gpu.yaml"), "us-central1").lines()
    cost.spent(job, "us-central1", [(start, end)]).most

List prices in US dollars, from prices.yaml; taxes, discounts, free credits, storage and traffic are
not in them. A price that is not known makes the sum unknown; it never counts as 0.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date

from launcher.common.document import SpecError
from launcher.common.times import format_span, seconds_between
from launcher.cost import prices
from launcher.cost.prices import Part, Table, dollars, price_pool
from launcher.jobfile.job import Job
from launcher.jobfile.machines import is_tpu

MAX_AGE = 90  # days, after which an estimate says how old its prices are
REFRESH = "python TEMPLATE/tools/refresh_prices.py"
PAGE = "write it into launcher/cost/prices.yaml, from https://cloud.google.com/vertex-ai/pricing"


@dataclass(frozen=True)
class Estimate:
    """What a job costs, in USD; None is unknown."""

    per_hour: float | None  # of a study: of as many trials as run at a time
    most: float | None  # before: for the whole timeout, restarts included; after: what was spent
    hours: float  # before: the timeout; after: that machines ran; of all trials together
    parts: tuple[Part, ...]  # of one trial
    notes: tuple[str, ...] = ()
    trials: int = 0  # 0: no study
    parallel: int = 1

    def lines(self) -> list[str]:
        """For a terminal, before the job starts."""
        lines = [str(part) for part in self.parts]
        hourly = "unknown" if self.per_hour is None else f"{dollars(self.per_hour)} an hour"
        amount = "unknown" if self.most is None else dollars(self.most)
        hours = format_span(self.hours * 3600).removesuffix(" 00 min")
        if self.trials:
            lines.append(f"{self.trials} trials, {self.parallel} at a time: {hourly}")
        elif len(self.parts) > 1:
            lines.append(f"together: {hourly}")
        lines.append(f"at most: {amount}, for {hours}: the timeout, restarts included")
        return [*lines, *self.notes]


def estimate(job: Job, region: str) -> Estimate:
    """Estimate what a job may cost, before it starts."""
    # Each trial has the timeout for itself. How many run at a time does not change the sum.
    hours = job.scheduling.timeout / 3600 * (job.trials or 1)
    whole = _price(job, region, hours, prices.load())
    if not job.tuning:
        return whole
    parallel = min(job.trials, job.parallel)
    per_hour = None if whole.per_hour is None else whole.per_hour * parallel
    return replace(whole, per_hour=per_hour, trials=job.trials, parallel=parallel)


def spent(job: Job, region: str, times: Sequence[tuple[str | None, str | None]]) -> Estimate:
    """Compute what a job cost from its own times: the queue is free.

    Args:
        times: the (startTime, endTime) of the job, or of each trial of a study, RFC 3339. Without a
            start its machines never ran, without an end they still run.

    Raises:
        SpecError: a text is no time; or prices.yaml cannot be read, as in `estimate`.
    """
    ran = [(start, end) for start, end in times if start]
    try:
        seconds = sum(max(0.0, seconds_between(start, end)) for start, end in ran)
    except ValueError as error:
        raise SpecError(str(error)) from None
    whole = _price(job, region, seconds / 3600, _load_prices())
    if not ran:
        return replace(whole, most=0.0, notes=("no machine ever ran, and the queue is free",))
    if all(end for _, end in ran):
        return whole
    return replace(whole, notes=("so far: it is still running", *whole.notes))


def find_excess(estimate: Estimate, limit: float) -> str:
    """Why a job may cost more than a limit in USD; "" where it surely does not."""
    if estimate.most is None:
        what = f"what this job costs is unknown, and the limit is {dollars(limit)}"
        return ": ".join((what, *estimate.notes[:1]))
    if estimate.most <= limit:  # never so where one is NaN
        return ""
    return (
        f"this job may cost {dollars(estimate.most)}, and the limit is {dollars(limit)}:"
        " lower scheduling.timeout or the number of machines, or raise the limit"
    )


# Once for all jobs of a list. An estimate reads the file as it is now: a notebook lives longer.
_load_prices = functools.cache(prices.load)


def _price(job: Job, region: str, hours: float, table: Table) -> Estimate:
    """Price so many hours of a job, or of a trial."""
    strategy = job.scheduling.strategy
    parts = tuple(price_pool(pool, region, strategy, table) for pool in job.pools)
    known = parts and all(part.price is not None for part in parts)
    per_hour = sum(part.price for part in parts) if known else None
    most = None if per_hour is None else per_hour * hours
    kind = prices.STRATEGIES.get(strategy, strategy)
    return Estimate(per_hour, most, hours, parts, tuple(_list_notes(parts, region, kind)))


def _list_notes(parts: Sequence[Part], region: str, kind: str) -> Iterator[str]:
    unknown = dict.fromkeys(name.partition(".")[0] for part in parts for name in part.unknown)
    if unknown or not parts:
        what = f"unknown price of {', '.join(unknown) or 'no machine'} in {region} ({kind})"
        tpu = any(part.unknown and is_tpu(part.pool.machine) for part in parts)
        yield f"{what}: {PAGE if tpu else REFRESH}"
        if known := sum(part.known_price for part in parts):
            yield f"what is known comes to {dollars(known)} an hour"
    dates = sorted(set().union(*(part.dates for part in parts)))
    if dates and (age := (date.today() - dates[0]).days) > MAX_AGE:
        several = f" to {dates[-1]}, up to" if dates[1:] else ","
        yield f"prices of {dates[0]}{several} {age} days old: {REFRESH}"
    if kind == "spot":
        yield "spot prices change from month to month; time without machines is not billed"
