"""Job files as their users write them: what is legal is accepted, and advice works when followed."""

import re

import pytest

STUDY = """\
displayName: small
maxTrialCount: 2
parallelTrialCount: 1
studySpec:
  metrics: [{metricId: val_loss, goal: MINIMIZE}]
  parameters:
  - parameterId: learning_rate
    doubleValueSpec: {minValue: 1.0e-7, maxValue: 0.1}
  - parameterId: batch_size
    discreteValueSpec: {values: [16, 32]}
trialJobSpec:
  workerPoolSpecs:
  - machineSpec: {machineType: n1-standard-4}
    replicaCount: 1
    containerSpec: {args: ["--epochs=1"]}
  scheduling: {timeout: 3600s}
"""


class Checker:
    """scripts/check.py of a bake, run once for many files."""

    def __init__(self, project, folder):
        self.project, self.folder = project, folder

    def check(self, texts):
        """Return the lines that it prints for each file, by name, without the file's own."""
        for name, text in texts.items():
            (self.folder / f"{name}.yaml").write_text(text, encoding="utf-8")
        paths = [self.folder / f"{name}.yaml" for name in texts]
        done = self.project.run(["python", "scripts/check.py", *paths], check=False)
        assert "Traceback" not in done.stderr, done.stderr
        return {
            name: re.findall(rf"^{re.escape(str(path))}:(.*)$", done.stderr, flags=re.M)
            for name, path in zip(texts, paths, strict=True)
        }


@pytest.fixture
def checker(bake, tmp_path):
    return Checker(bake(), tmp_path)


# {what is written for minValue: what to write instead}
NUMBERS = {
    "1e-05": "write 1.0e-05 with a dot and a sign, as YAML 1.1 wants it, without quotes",
    "1E-6": "write 1.0e-06 with a dot",
    "2.5e-7": None,
    ".5e-3": None,
    "'0.001'": "write 0.001, without quotes",
    "1e-3": "write 0.001, without quotes",
    "1_0e-4": "write 0.001, without quotes",
    "0.000_1": None,
    "0o17": "write 15, without quotes",
    "017": "is 017, which YAML takes for 15; write 17, or 15 if eights are meant",
    "1:30": "is 1:30, which YAML takes for 90; write 90, if sixties are meant",
    "yes": "is yes; a number is expected",
    "1e-400x": "is 1e-400x; a number is expected",
    "inf": "is inf; a number is expected",
    ".inf": "is .inf; a number is expected",
}


def test_the_advice_for_a_number_is_a_number_in_yaml(checker):
    texts = {
        f"number_{i}": STUDY.replace("1.0e-7", text).replace("0.1}", "100}")
        for i, text in enumerate(NUMBERS)
    }
    said = dict(zip(NUMBERS, checker.check(texts).values(), strict=True))

    for text, advice in NUMBERS.items():
        if advice is None:
            assert said[text] == []
        else:
            assert len(said[text]) == 1 and advice in said[text][0], (text, said[text])
    # Each advice, followed, gives a file without a fault.
    written = [re.search(r"write (\S+?),? ", lines[0])[1] for lines in said.values() if "write" in "".join(lines)]  # fmt: skip
    assert len(written) == 8
    followed = checker.check(
        {
            f"followed_{i}": STUDY.replace("1.0e-7", text).replace("0.1}", "100}")
            for i, text in enumerate(written)
        }
    )
    assert set(map(tuple, followed.values())) == {()}


# {(a text of STUDY, what stands there instead): what to write}
OTHERS = {
    ("maxTrialCount: 2", "maxTrialCount: 1e2"): "is 1e2; write 100",
    ("maxTrialCount: 2", "maxTrialCount: 2.0"): "is 2.0; write 2",
    ("maxTrialCount: 2", "maxTrialCount: 0o17"): "is 0o17; write 15",
    ("maxTrialCount: 2", "maxTrialCount: 010"): "which YAML takes for 8; write 10, or 8",
    ("maxTrialCount: 2", "maxTrialCount: 1:30"): "which YAML takes for 90; write 90",
    ("[16, 32]", "[32, 1e-05]"): "write 1.0e-05 with a dot",
    ("[16, 32]", "[32, 1.0e-05]"): "must rise, each value above the one before; write [1.0e-05, 32]",
    ("timeout: 3600s", "timeout: 1:30"): 'write "90s"',
    ("3600s}", "3600s, disableRetries: 'yes'}"): "write true or false, without quotes",
    ('"--epochs=1"', "--batch-size, 1_000"): 'write "--batch-size=1_000" as one text',
    ("maxTrialCount: 2", "maxTrialCount: 2\nparameterSpec: []"): "did you mean studySpec.parameters?",
    ("  metrics", "  parameterSpecs: []\n  metrics"): "did you mean parameters?",
    ("  metrics", "  params: []\n  metrics"): "did you mean parameters?",
    ("maxTrialCount: 2", "maxTrialCount: 2\nmaxTrials: 3"): "did you mean maxTrialCount?",
    ("maxTrialCount: 2", "maxTrialCount: 2\nmetric: x"): "did you mean studySpec.metrics?",
    ("minValue: 1.0e-7, maxValue", "min: 1.0e-7, minValue: 0, maxValue"): "did you mean minValue?",
    ("containerSpec: {", "containerSpec: {environment: {}, "): "did you mean env?",
    ("containerSpec: {", "containerSpec: {image: x, "): "did you mean imageUri?",
    ("replicaCount: 1", "replicaCount: 1\n    disk: {}"): "did you mean diskSpec?",
    ("replicaCount: 1", "replicaCount: 1\n    replicas: 1"): "did you mean replicaCount?",
    ("  workerPool", "  machineType: x\n  workerPool"): "it stands below workerPoolSpecs.machineSpec",
    ("  workerPool", "  timeOut: 3s\n  workerPool"): "did you mean scheduling.timeout?",
    ("3600s}", "3600s, maxWait: 3s}"): "did you mean maxWaitDuration?",
}  # fmt: skip


def test_the_advice_for_a_field_names_what_was_meant(checker):
    texts = {}
    for i, (old, new) in enumerate(OTHERS):
        assert STUDY.count(old) == 1
        texts[f"other_{i}"] = STUDY.replace(old, new)

    said = zip(OTHERS.items(), checker.check(texts).values(), strict=True)

    for (change, advice), lines in said:
        assert any(advice in line for line in lines), (change, lines)
