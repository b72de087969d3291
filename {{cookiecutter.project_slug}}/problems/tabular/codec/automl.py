"""The run's table for models that Google trains: BigQuery ML, AutoML.

What counts as missing here is missing there, too. `codec/automl.py` of kinds without tables has the
functions in their plainest form.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from codec.schema import Column, Schema

MODELS = {
    "classification": ("LOGISTIC_REG", "BOOSTED_TREE_CLASSIFIER"),
    "regression": ("LINEAR_REG", "BOOSTED_TREE_REGRESSOR"),
}
# What the table of scripts/baseline.py shows, too.
METRICS = {
    "classification": "AVG(IF({guess} = {truth}, 1, 0)) AS accuracy",
    "regression": "AVG(ABS({guess} - {truth})) AS mae",
}
OBJECTIVES = {"classification": "minimize-log-loss", "regression": "minimize-mae"}
KINDS = {"number": "numeric", "category": "categorical", "date": "auto"}
DEFINITION = "gs://google-cloud-aiplatform/schema/trainingjob/definition/automl_tabular_1.0.0.yaml"
HOURS, PRICE = 1, 21.25  # node hours, and US dollars for one: second-hand, November 2026
OTHER_ROWS = (
    "the run holds out rows of its training files by a hash that BigQuery does not have: other rows "
    "are held out there; train with --eval-files to compare the same ones"
)


def write_sql(schema: str, data: dict, project: str, dataset: str) -> str:
    """Views of the rows, two models, and the metric of their held-out rows.

    Args:
        schema: the text of the run's schema.json.
        data: `data` of the run's run.json: files and rows of both parts.
        project, dataset: where the tables and the models shall be.
    """
    about, prefix = Schema.from_json(schema), f"{project}.{dataset}"
    lines = ["-- First load the files:", f"--   bq mk --dataset {project}:{dataset}"]
    own = bool(data["eval"]["files"])
    for part in ("train", "eval"):
        for i, file in enumerate(data[part]["files"]):
            load = f"bq load --autodetect --source_format=CSV --{'no' if i else ''}replace"
            lines.append(f"--   {load} {project}:{dataset}.{part} {file['path']}")
    if not own:
        lines.append(f"-- Not the same split: {OTHER_ROWS}.")
    missing = ", ".join(map(json.dumps, about.missing))
    columns = ",\n  ".join(_write_columns(about, prefix))
    target = _cast(prefix, about.target, about.task == "regression")
    lines += [
        f"CREATE OR REPLACE FUNCTION `{prefix}.present`(value STRING) AS (",
        f"  IF(TRIM(value) IN ({missing}), NULL, TRIM(value))",
        ");",
    ]
    for part, sign in (("train", "!="), ("eval", "=")):
        table = f"`{prefix}.{part if own else 'train'}` AS t"
        split = "" if own else f"\n  AND MOD(FARM_FINGERPRINT(TO_JSON_STRING(t)), 5) {sign} 0"
        lines += [
            f"CREATE OR REPLACE VIEW `{prefix}.{part}_rows` AS",
            f"SELECT\n  {columns}\nFROM {table}\nWHERE {target} IS NOT NULL{split};",
        ]
    name = _clean(about.target)
    metric = METRICS[about.task].format(guess=f"`predicted_{name}`", truth=f"`{name}`")
    for kind in MODELS[about.task]:
        model = f"`{prefix}.{kind.lower()}`"
        lines += [
            f"CREATE OR REPLACE MODEL {model}",
            f"OPTIONS(model_type='{kind}', input_label_cols=['{name}'],",
            "  data_split_method='NO_SPLIT', model_registry='vertex_ai') AS",
            f"SELECT * FROM `{prefix}.train_rows`;",
            f"SELECT COUNT(*) AS held_out, {metric}",
            f"FROM ML.PREDICT(MODEL {model}, TABLE `{prefix}.eval_rows`);",
        ]
    return "\n".join(lines)


def describe_training(
    schema: str, data: dict, project: str, dataset: str
) -> tuple[dict, list[str]]:
    """The `TrainingPipeline` that starts AutoML, and lines that say its price and what it lacks."""
    about = Schema.from_json(schema)
    own, name = bool(data["eval"]["files"]), _clean(about.target)
    message = {
        "displayName": f"{dataset}-{name}",
        "inputDataConfig": {
            "datasetId": "DATASET_ID",
            **({"predefinedSplit": {"key": "part"}} if own else {}),
        },
        "trainingTaskDefinition": DEFINITION,
        "trainingTaskInputs": {
            "targetColumn": name,
            "predictionType": about.task,
            "optimizationObjective": OBJECTIVES[about.task],
            "transformations": [
                {KINDS[c.kind]: {"columnName": _clean(c.name)}} for c in about.features
            ],
            "trainBudgetMilliNodeHours": 1000 * HOURS,
        },
        "modelToUpload": {"displayName": f"{dataset}-automl"},
    }
    split = (
        "with a column part: TRAIN, or TEST in the held-out rows"
        if own
        else f"which AutoML splits itself: {OTHER_ROWS}"
    )
    return message, [
        f"price: about ${HOURS * PRICE:.2f}, {HOURS} node hour at ${PRICE:.2f}, not checked with Google",
        f"DATASET_ID: a tabular dataset of Vertex AI, {split}",
    ]


def _write_columns(schema: Schema, prefix: str) -> Iterator[str]:
    for column in schema.features:
        yield f"{_read(column, prefix)} AS `{_clean(column.name)}`"
    yield f"{_cast(prefix, schema.target, schema.task == 'regression')} AS `{_clean(schema.target)}`"


def _read(column: Column, prefix: str) -> str:
    """A feature as an expression. The types are those that `bq load` has chosen, so texts come first."""
    if column.kind == "date":  # which it reads, too
        return f"`{_clean(column.name)}`"
    text = _cast(prefix, column.name, column.kind == "number")
    for code in column.codes:
        text = f"NULLIF({text}, {code!r})"
    return text


def _cast(prefix: str, name: str, is_number: bool) -> str:
    text = f"`{prefix}.present`(CAST(`{_clean(name)}` AS STRING))"
    return f"SAFE_CAST({text} AS FLOAT64)" if is_number else text


def _clean(name: str) -> str:
    """The name that `bq load` gives to a column."""
    name = re.sub(r"\W", "_", name, flags=re.ASCII)
    return name if re.match(r"[a-zA-Z_]", name) else f"_{name}"
