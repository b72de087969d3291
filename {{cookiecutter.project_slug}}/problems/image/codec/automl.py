"""The run's images for models that Google trains: AutoML; BigQuery ML takes none."""

from __future__ import annotations

from codec.schema import Schema

SCHEMAS = "gs://google-cloud-aiplatform/schema"
# Node hours, of which AutoML takes no fewer; US dollars for one, second-hand.
HOURS, PRICE = 8, 3.465
PARTS = ("training", "validation", "test")
USES = "labels.aiplatform.googleapis.com/ml_use"


def write_sql(schema: str, data: dict, project: str, dataset: str) -> str:
    """Raises a ValueError."""
    raise ValueError("--bqml: BigQuery ML trains on tables, not on images; see --automl")


def describe_training(
    schema: str, data: dict, project: str, dataset: str
) -> tuple[dict, list[str]]:
    """The `TrainingPipeline` that starts AutoML, and lines that say its price and what it lacks.

    Args:
        schema: the text of the run's schema.json.
        data: `data` of the run's run.json.
        project, dataset: of the names of dataset and model.

    Raises:
        ValueError: the target is no class.
    """
    if Schema.from_json(schema).task != "classification":
        raise ValueError(
            "--automl: AutoML learns classes of images; the target of this run is none"
        )
    message = {
        "displayName": f"{dataset}-class",
        "inputDataConfig": {
            "datasetId": "DATASET_ID",
            "annotationSchemaUri": f"{SCHEMAS}/dataset/annotation/image_classification_1.0.0.yaml",
            "filterSplit": {f"{part}Filter": f"{USES}={part}" for part in PARTS},
        },
        "trainingTaskDefinition": (
            f"{SCHEMAS}/trainingjob/definition/automl_image_classification_1.0.0.yaml"
        ),
        "trainingTaskInputs": {"modelType": "CLOUD", "budgetMilliNodeHours": 1000 * HOURS},
        "modelToUpload": {"displayName": f"{dataset}-automl"},
    }
    return message, [
        f"price: about ${HOURS * PRICE:.2f}, {HOURS} node hours at ${PRICE}, not checked with Google",
        "DATASET_ID: an image dataset of Vertex AI, imported from a file of lines TRAINING,gs://…,CLASS; "
        "write TEST where the image is held out",
    ]
