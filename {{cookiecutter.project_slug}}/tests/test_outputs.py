"""What a run leaves: metrics, the sections of the report, a model that answers a client.

They must stay true of each other after an edit of `trainer/outputs.py`, `trainer/model.py` or
`predictor/inputs.py`.
"""

import json

import own
from conftest import read_json, write

from launcher.cli import predict
from predictor import predict as predictor
from trainer import outputs
from trainer.engine import sections


def test_each_metric_of_the_model_is_in_METRICS_and_the_other_way_round(trained):
    """A study checks its metric by METRICS, before anything is trained."""
    header = (trained.job_dir / "history.csv").read_text(encoding="utf-8").splitlines()[0]

    names = [*outputs.METRICS[trained.schema.task]]
    assert header.split(",") == ["epoch", *names, *(f"val_{name}" for name in names)]


def test_the_run_succeeds_and_its_report_has_sections(trained):
    assert read_json(trained.job_dir / "run.json")["status"] == "succeeded"

    written = read_json(trained.job_dir / "evaluation.json")["sections"]
    assert written and sections.check(written) == written
    described = outputs.describe_data(trained.data)
    assert described and sections.check(described) == described


def predict_file(trained, capsys, instances: list) -> tuple[int, list[dict]]:
    """The exit code and the answers of scripts/predict.py."""
    path = write("instances.json", json.dumps({"instances": instances}))
    capsys.readouterr()
    code = predict.main(["--model", trained.model_dir, path], predictor)
    return code, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_the_model_answers_what_a_client_sends(trained, capsys):
    instances = own.make_instances(trained.schema)

    code, answers = predict_file(trained, capsys, instances)

    assert code == 0 and len(answers) == len(instances)
    for answer in answers:
        assert answer and "error" not in answer
        if trained.data.classes:
            assert answer["class"] in trained.data.classes


def test_a_wrong_instance_gets_an_error_and_the_others_their_answers(trained, capsys):
    [good, *_] = own.make_instances(trained.schema)

    code, answers = predict_file(trained, capsys, [1, good])

    assert code == 2
    assert ["error" in answer for answer in answers] == [True, False]
