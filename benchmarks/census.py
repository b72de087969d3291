"""Made-up census data: the columns and value counts of the tutorials' file, any number of rows.

python benchmarks/census.py 1000000 census.csv
"""

import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv

NUMBERS = {  # name: typical value, spread, lowest, highest
    "age": (38, 13, 17, 90),
    "fnlwgt": (190_000, 105_000, 12_000, 1_500_000),
    "education_num": (10, 2.5, 1, 16),
    "capital_gain": (-4_000, 6_000, 0, 99_999),
    "capital_loss": (-600, 500, 0, 4_356),
    "hours_per_week": (40, 12, 1, 99),
}
CATEGORIES = {  # name: different values
    "workclass": 9,
    "education": 16,
    "marital_status": 7,
    "occupation": 15,
    "relationship": 6,
    "race": 5,
    "gender": 2,
    "native_country": 42,
}
COLUMNS = (
    "age", "workclass", "fnlwgt", "education", "education_num", "marital_status", "occupation",
    "relationship", "race", "gender", "capital_gain", "capital_loss", "hours_per_week",
    "native_country",
)  # fmt: skip
TARGET = "income_bracket"
LABELS = ("<=50K", ">50K")
CHUNK = 1 << 17


def values(column):
    """A category's values: of the length of real ones, and one that means "missing"."""
    return [f"{column.title().replace('_', '-')}-{i}" for i in range(CATEGORIES[column] - 1)] + [
        "?"
    ]


def write(path, rows, seed=0):
    """Writes `rows` rows, a chunk at a time; the same seed gives the same file."""
    # What earns money is the same for every seed, so that files of several seeds fit together.
    truth = np.random.default_rng(2024)
    effect = {name: truth.normal(size=count) for name, count in CATEGORIES.items()}
    slope = {name: truth.normal() for name in NUMBERS}
    fields = [(name, pa.int64() if name in NUMBERS else pa.string()) for name in COLUMNS]
    schema = pa.schema([*fields, (TARGET, pa.string())])
    options = pa.csv.WriteOptions(quoting_style="none")
    with pa.csv.CSVWriter(path, schema, write_options=options) as file:
        for number, start in enumerate(range(0, rows, CHUNK)):
            random = np.random.default_rng([seed, number])
            file.write(_chunk(random, min(CHUNK, rows - start), effect, slope, schema))


def _chunk(random, rows, effect, slope, schema):
    columns, score = {}, np.full(rows, -1.5)
    for name, (mean, spread, low, high) in NUMBERS.items():
        columns[name] = np.clip(random.normal(mean, spread, rows), low, high).astype(np.int64)
        score += slope[name] * np.tanh((columns[name] - mean) / spread)
    for name, count in CATEGORIES.items():
        places = np.minimum(random.geometric(3 / (count + 2), rows) - 1, count - 1)
        columns[name] = pa.array(values(name)).take(pa.array(places))
        score += effect[name][places]
    rich = random.random(rows) < 1 / (1 + np.exp(-score))
    columns[TARGET] = pa.array(LABELS).take(pa.array(rich.astype(np.int64)))
    return pa.record_batch([pa.array(columns[name]) for name in schema.names], schema=schema)


if __name__ == "__main__":
    write(sys.argv[2], int(sys.argv[1]))
