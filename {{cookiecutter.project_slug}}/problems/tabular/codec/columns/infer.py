"""Which column is a number, a category, or nothing to learn from: what training rows say."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pyarrow.compute as pc

from codec import dates
from codec.columns import blocks, meaning, rows, tables
from codec.columns.profiles import Profile, look_at
from codec.columns.rows import Part, Split
from codec.columns.sample import Sample
from codec.columns.target import settle_target
from codec.errors import JobError
from codec.schema import MISSING, Column, Schema, name_inputs
from codec.values import is_number

MAX_CATEGORIES = 10_000  # the most frequent are kept, the rest count as unseen
MIXED = 0.5  # of the values of a column of numbers, at most, may be frequent words,
FREQUENT_WORDS = 3  # of so many kinds where there are more different values than
FEW_VALUES = 20  # these; of one kind beside fewer, and only where it is alone with its indicator
RARE = 2  # training rows: a category that fewer have counts as unseen; in a large table, those of
RARE_SHARE = 1 / 2_000  # of them, or of MAX_RARE
MAX_RARE = 20


def infer(
    parts: Sequence[Part], split: Split, target: str, task: str | None, hints: Mapping[str, dict]
) -> Schema:
    """Read the training files, and keep their rows in `parts`, until the schema can encode them.

    They are read once, but for columns whose first block is unlike the others.

    Args:
        parts: for the rows to train on and, if they come from the same files, those held out.

    Raises:
        JobError: a fault in a file, or a target that nothing can be learned for.
    """
    train = parts[0]
    names = [name for name in train.sources[0].names if name]
    # A kind that is given stays.
    limits = {"number": 1.0, "date": 1.0, "category": -1.0, "ignore": -1.0}
    limits = {name: limits.get(hints.get(name, {}).get("kind"), MIXED) for name in names}
    limits[target] = 0 if task == "classification" else rows.WORDS  # each word is a class
    limits.pop(split.group, None)
    profiles, values, forms = _read(parts, split, target, limits, hints)
    for alone in (False, True):
        columns = []
        for name in names:
            if name == split.group:
                columns.append(Column(name, "ignore", "the group of a row (--group), no feature"))
            elif name != target:
                settled = profiles[name], values.get(name), hints.get(name, {}), train, alone
                columns.append(_column(*settled, forms.get(name, ("", ""))))
        if not all(column.kind == "ignore" for column in columns):
            break
    else:
        reasons = tables.listed([f"{c.name}: {c.why}" for c in columns])
        raise JobError(f"no column is left to learn from ({reasons}); settle kinds with --schema")
    name_inputs(columns)
    schema = Schema(target, task or "", columns)
    hint = hints.get(target, {})
    return settle_target(schema, profiles[target], values.get(target), hint, train, split)


def _read(
    parts: Sequence[Part],
    split: Split,
    target: str,
    limits: Mapping[str, float],
    hints: Mapping[str, dict],
) -> tuple[dict[str, Profile], dict[str, np.ndarray], dict[str, tuple[str, str]]]:
    """Read columns as what the first MiB shows; those that turn out to be others once more.

    Returns a profile of each column, a sample of the values of each column of numbers, and the form
    of each column of dates, with an example.

    Raises:
        JobError: a column that --schema calls dates has none.
    """

    def choose(block: blocks.Block) -> blocks.Block:
        return block.choose(~split.hold_out(block)) if len(parts) == 2 else block

    names = [*limits, *([split.group] if split.groups else [])]
    first = blocks.read_first(parts[0].sources, names, choose)
    profiles = {name: look_at(name, first, False) for name in limits}
    texts = {
        name
        for name, profile in profiles.items()
        if limits[name] < 0 or (profile.values and not _are_numbers(profile, limits[name], {}))
    }
    given = {name for name in limits if hints.get(name, {}).get("kind") == "date"}
    forms = {}
    for name in given | {name for name in texts if limits[name] == MIXED}:
        column = first.columns[name]  # whose dictionary has the texts of held-out rows, too
        different = column.dictionary.take(pc.unique(column.indices))
        form, example = dates.find_form(different, 0 if name in given else 0.5)
        if form:
            forms[name] = hints.get(name, {}).get("form") or form, example
        elif name in given:
            sources = parts[0].sources
            raise tables.not_a_number(sources, name, MISSING, "ignore it", "year-month-day")
    texts -= forms.keys()

    def look(block: blocks.Block) -> tuple[list[Profile], tuple]:
        counted = {n for n in (*texts, target) if profiles[n].counts is not None}
        looked_at = [look_at(n, block, n in counted) for n in block.columns if n in profiles]
        return looked_at, sample.choose(block)

    misread, values = list(limits), {}
    for _ in range(2):
        types = {
            name: blocks.TEXTS if name in texts else forms.get(name, (blocks.NUMBERS,))[0]
            for name in misread
        }
        profiles |= {name: Profile(name, name in texts) for name in misread}
        sample = Sample([name for name in misread if name not in texts])
        for looked_at, chosen in rows.parse(parts, types, split, look) if types else ():
            sample.add(*chosen)
            for block in looked_at:
                profiles[block.name].merge(block)
        values |= {name: column[np.isfinite(column)] for name, column in sample.columns.items()}
        misread = [
            n
            for n in misread
            if _is_misread(profiles[n], limits[n], parts[0].words[n], values.get(n, ()))
        ]
        texts ^= {*misread}
    return profiles, values, {name: form for name, form in forms.items() if name not in texts}


def _is_misread(profile: Profile, limit: float, words: Counter, values: Sequence[float]) -> bool:
    return profile.values > 0 and profile.text == _are_numbers(profile, limit, words, values)


def _are_numbers(
    profile: Profile, limit: float, words: Mapping[str, int], values: Sequence[float] = ()
) -> bool:
    """Whether the values are numbers, but for this share of words at most, of which few are rare."""
    if profile.words <= min(limit, rows.WORDS) * profile.values or limit == 1:
        return True
    if limit < MIXED or profile.words > limit * profile.values:
        return False
    different = len({*words, *values})
    if profile.text:
        different = len(profile.counts or ())
        words = {text: n for text, n in (profile.counts or {}).items() if not is_number(text)}
    named = sorted((n for word, n in words.items() if word != tables.OTHERS), reverse=True)
    is_alone = profile.rows - profile.values <= rows.WORDS * profile.rows  # few cells are empty
    frequent = named[: FREQUENT_WORDS if different > FEW_VALUES else is_alone]
    return profile.words - sum(frequent) <= rows.WORDS * profile.values


def _column(
    profile: Profile,
    values: np.ndarray | None,
    hint: Mapping,
    train: Part,
    alone: bool,
    form: tuple[str, str],
) -> Column:
    """Settle a feature.

    Args:
        values: a sample of a column of numbers.
        hint: what --schema has on it.
        alone: the table has no other.
        form: of a column of dates, with an example.
    """
    codes, scale = [], None
    if not profile.text:
        codes = hint.get("codes", [] if form[0] else meaning.find_codes(values))
        scale = meaning.find_scale(profile, values, codes)
    kind, why = _kind(profile, scale) if not form[0] else _kind_of_dates(profile, scale, *form)
    files = len(train.sources)
    if kind == "number" and meaning.are_row_numbers(profile, values, files, alone):
        kind, why = "ignore", f"row numbers, {profile.low:.0f} to {profile.high:.0f}"
    words = train.words[profile.name]
    if "kind" in hint:
        kind, why = hint["kind"], "given with --schema"
    if words:
        why += f"; words, which count as missing: {tables.counted(words)}"
    column = Column(profile.name, kind, why, profile.missing)
    if kind in ("number", "date"):
        if not profile.present and (words or kind == "date"):
            remedy = "make it a category, or ignore it, with --schema"
            raise tables.not_a_number(train.sources, profile.name, MISSING, remedy, form[0])
        if not math.isfinite(scale.std):
            raise JobError(
                f"column {profile.name!r}: {_kind_of_numbers(profile, scale)[1]}; divide the whole column "
                "by a power of ten, or ignore it with --schema"
            )
        column.words, column.codes = dict(sorted(words.items())), codes
        if codes:
            counts = train.count_codes(profile.name, codes)
            column.missing += counts.total()
            column.why += f"; codes, which count as missing: {tables.counted(counts)}"
        column.mean, column.std = scale.mean, scale.std or 1.0
        column.low, column.high = hint.get("low", scale.low), hint.get("high", scale.high)
        if kind == "date":
            column.form, column.example = form
            column.parts = dates.choose_parts(values)
            low, high = dates.show(profile.low), dates.show(profile.high)
            parts = ", ".join(["trend", *column.parts])
            column.why += f"; {low} to {high}; the model sees its {parts}"
            far = f"dates far before {dates.show(column.low)} or after {dates.show(column.high)} count "
            scale.about = scale.about and f"{far}as these"
        column.why += f"; {scale.about}" if scale.about else ""
    elif kind == "category":
        if profile.counts is None:
            raise JobError(
                f"column {profile.name!r}: {profile.uncounted}, too many for a category; "
                "make it a number, or ignore it, with --schema"
            )
        fewest = 1 if "kind" in hint else _fewest(profile)
        given = dict.fromkeys(hint.get("categories", ()))
        column.categories = [*given] or _choose_categories(profile, fewest)
        if rare := len(profile.counts.keys() - {*column.categories}):
            column.why += f"; {rare} of them, in too few rows, count as unseen values"
    return column


def _fewest(profile: Profile) -> int:
    """Rows that a category needs to be learned."""
    return min(max(RARE, int(profile.rows * RARE_SHARE)), MAX_RARE)


def _choose_categories(profile: Profile, fewest: int) -> list[str]:
    """The values that so many rows have, the most frequent first."""
    ranked = sorted(profile.counts.items(), key=lambda item: (-item[1], item[0]))
    return [value for value, count in ranked[:MAX_CATEGORIES] if count >= fewest]


def _kind(profile: Profile, scale: meaning.Scale | None) -> tuple[str, str]:
    if not profile.present:
        return "ignore", "no row has a value"
    if not profile.text:
        return _kind_of_numbers(profile, scale)
    numbers = profile.values - profile.words
    mixed = f"; {numbers} of {profile.values} values are numbers: --schema can make it a number"
    mixed = mixed if 2 * numbers > profile.values else ""
    if profile.counts is None:
        return "ignore", f"text with {profile.uncounted}{mixed}"
    distinct = len(profile.counts)
    if dates.are_dates(profile.counts):
        first = tables.shown(next(iter(profile.counts)))
        return "ignore", f"dates, but not of one form that is used, such as 2020-01-31 ({first})"
    if distinct == 1 and not profile.missing:
        return "ignore", f"always {tables.shown(next(iter(profile.counts)))}"
    if distinct > 20 and distinct > profile.present / 2:
        text = "numbers and words" if mixed else _resembles(profile.counts)
        return "ignore", f"{text}; {distinct} different values{mixed}"
    if not _choose_categories(profile, _fewest(profile)):
        return "ignore", f"text with {distinct} different values, all in too few rows"
    what = mixed or (f": {_resembles(profile.counts)}" if _are_measures(profile.counts) else "")
    return "category", f"text with {distinct} different values{what}"


def _kind_of_numbers(profile: Profile, scale: meaning.Scale) -> tuple[str, str]:
    if profile.constant:
        return "ignore", f"always {profile.low:g}"
    if not math.isfinite(scale.std):
        return "ignore", f"numbers up to {profile.high:g}: too large to compute with"
    if not scale.std:
        return "ignore", f"numbers close to {profile.low:g}: too close to compute with"
    if profile.words:
        return "number", f"all but {profile.words} of {profile.values} values are numbers"
    return "number", "every value is a number"


def _kind_of_dates(
    profile: Profile, scale: meaning.Scale, form: str, example: str
) -> tuple[str, str]:
    if not profile.present:
        return "ignore", "no row has a value"
    if not scale.std:
        return "ignore", f"always {example}"
    return "date", f"{form}, such as {tables.shown(example)}"


def _are_measures(texts: Iterable[str]) -> bool:
    """Whether texts look like numbers with a comma or a unit, and not like a few codes."""
    sample = list(itertools.islice(texts, 200))
    numbers = sum(bool(re.fullmatch(r"\W{0,3}\d[\d.,' ]*\D{0,3}", text)) for text in sample)
    return len(sample) > FEW_VALUES and numbers > 0.9 * len(sample)


def _resembles(texts: Iterable[str]) -> str:
    """What many texts look like, with what to do where something can be done."""
    if _are_measures(texts):
        return f"looks like numbers with a comma or a unit: write 10.4 ({next(iter(texts))!r})"
    return "text that differs from row to row: an id?"
