"""The run's data for models that Google trains: BigQuery ML, AutoML. A kind of data that they take
brings a file instead of this one."""


def write_sql(schema: str, data: dict, project: str, dataset: str) -> str:
    """SQL that trains simple models in BigQuery and evaluates them.

    Args:
        schema: the text of the run's schema.json.
        data: `data` of the run's run.json: files and rows of both parts.
        project, dataset: where the tables and the models shall be.

    Raises:
        ValueError: BigQuery ML does not train on this data.
    """
    raise ValueError("BigQuery ML does not train on data of this kind")


def describe_training(
    schema: str, data: dict, project: str, dataset: str
) -> tuple[dict, list[str]]:
    """The `TrainingPipeline` that starts AutoML, and lines that say its price and what it lacks.

    Raises:
        ValueError: AutoML does not train on this data.
    """
    raise ValueError("AutoML does not train on data of this kind")
