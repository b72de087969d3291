"""Job files that are refused: after `#!` in a line stand words of the fault that is reported there.

Two marks in one line are two faults. A line without a mark has no fault.
"""

from __future__ import annotations

JOB = """\
workerPoolSpecs:
  - machineSpec:
      machineType: n1-standard-8
      acceleratorType: NVIDIA_TESLA_T4
      acceleratorCount: 2
    replicaCount: 1
    diskSpec: {bootDiskType: pd-ssd, bootDiskSizeGb: 200}
    containerSpec:
      imageUri: trainer
      args: ["--epochs=3", --batch-size, "64", --learning_rate=0.01]
      env:
        - name: TEAM
          value: seals
  - machineSpec: {machineType: g2-standard-24, acceleratorType: NVIDIA_L4, acceleratorCount: 2}
    replicaCount: 2
    containerSpec: {args: []}
scheduling:
  timeout: 3600s
serviceAccount: robot@my-lab.iam.gserviceaccount.com
network: projects/12345/global/networks/lab
baseOutputDirectory: {outputUriPrefix: gs://my-bucket/runs/1}
tensorboard: projects/12345/locations/us-central1/tensorboards/678
"""

STUDY = """\
displayName: a study
maxTrialCount: 12
parallelTrialCount: 2
maxFailedTrialCount: 3
studySpec:
  metrics:
    - metricId: val_loss
      goal: MINIMIZE
  parameters:
    - parameterId: learning_rate
      doubleValueSpec: {minValue: 0.001, maxValue: 0.1}
      scaleType: UNIT_LOG_SCALE
    - parameterId: hidden_units
      categoricalValueSpec: {values: ["16", "64,32"]}
      conditionalParameterSpecs:
        - parentCategoricalValues: {values: ["64,32"]}
          parameterSpec:
            parameterId: dropout
            doubleValueSpec: {minValue: 0, maxValue: 0.5}
    - parameterId: batch_size
      discreteValueSpec: {values: [16, 32, 64]}
    - parameterId: early-stopping
      integerValueSpec: {minValue: 2, maxValue: 16}
trialJobSpec:
  workerPoolSpecs:
    - machineSpec: {machineType: n2-standard-4}
      replicaCount: 1
      containerSpec: {args: ["--epochs=3"]}
  scheduling: {timeout: 600s}
"""

# {what is wrong: [(a text of JOB, what stands there instead), …]}
IN_A_JOB = {
    # The API's messages
    "snake case": [("workerPoolSpecs:", "worker_pool_specs: #! did you mean workerPoolSpecs?")],
    "a misspelt field": [("    replicaCount: 1", "    replicas: 1 #! did you mean replicaCount?")],
    "an unknown field": [("  timeout: 3600s", "  timeout: 3600s\n  priority: 3 #! known are timeout, restart")],
    "one level too high": [("    replicaCount: 1", "    replicaCount: 1\n    machineType: n1-standard-8 #! did you mean machineSpec.machineType?")],
    "one level too low": [("      acceleratorCount: 2\n    replicaCount", "      acceleratorCount: 2\n      replicaCount: 1 #! did you mean workerPoolSpecs.replicaCount?\n    replicaCount")],
    "labels": [("scheduling:", "labels: {a: b} #! takes it from project.yaml\nscheduling:")],
    "a region": [("scheduling:", "region: us-central1 #! takes it from project.yaml\nscheduling:")],
    "a number in args": [('"64"', "64")] + [("_rate=0.01]", '_rate=0.01] #! is 64, which is no text to YAML; put it in quotes: "64"')],
    "a lone number in args": [('args: ["--epochs=3", --batch-size, "64",', "args: [3,"), ("_rate=0.01]", '_rate=0.01] #! put it in quotes: "3"')],
    "yes in args": [('"64"', "yes"), ("_rate=0.01]", '_rate=0.01] #! is yes, which is no text to YAML; put it in quotes: "yes"')],
    "args in one text": [("containerSpec: {args: []}", "containerSpec: {args: --epochs=3} #! is --epochs=3, not a list")],
    "an empty argument": [("containerSpec: {args: []}", "containerSpec: {args: [ ~ ]} #! args[0]: is empty")],
    "a number in env": [("value: seals", 'value: 1 #! which is no text to YAML; put it in quotes: "1"')],
    "env as a mapping": [("        - name: TEAM\n          value: seals", "        TEAM: seals"), ("      env:", "      env: #! is a mapping, not a list")],
    "both kinds of task": [("containerSpec: {args: []}", "containerSpec: {args: []}\n    pythonPackageSpec: {pythonModule: trainer.task} #! stands beside containerSpec; keep one of them")],
    "a text for a count": [("replicaCount: 2", "replicaCount: two #! is two; a number is expected")],
    "a part of a replica": [("replicaCount: 2", "replicaCount: 1.5 #! is 1.5; a whole number of 64 bits is expected")],
    "pools as a mapping": [("  - machineSpec: {machineType: g2-standard-24, acceleratorType: NVIDIA_L4, acceleratorCount: 2}\n    replicaCount: 2\n    containerSpec: {args: []}\n", ""), ("  - machineSpec:", "    machineSpec:"), ("workerPoolSpecs:", "workerPoolSpecs: #! is a mapping, not a list; write - before each item")],
    "an hour": [("timeout: 3600s", 'timeout: 1h #! a time is seconds with an s: write "3600s"')],
    "seconds without s": [("timeout: 3600s", 'timeout: 7200 #! a time is seconds with an s')],
    "a short accelerator name": [("NVIDIA_TESLA_T4", "T4 #! did you mean NVIDIA_TESLA_T4?")],
    "Compute Engine's accelerator name": [("NVIDIA_TESLA_T4", "nvidia-tesla-t4 #! did you mean NVIDIA_TESLA_T4?")],
    "an unknown accelerator": [("NVIDIA_TESLA_T4", "NVIDIA_TESLA_T5 #! did you mean NVIDIA_TESLA_T4?")],
    "a strategy in small letters": [("  timeout: 3600s", "  timeout: 3600s\n  strategy: spot #! did you mean SPOT?")],
    "a text for a boolean": [("  timeout: 3600s", '  timeout: 3600s\n  disableRetries: "true" #! write true or false, without quotes')],
    # Machines
    "a machine that is not for training": [("g2-standard-24,", "c3-standard-24,"), ("acceleratorCount: 2}", "acceleratorCount: 2} #! c3-standard-24 is no machine type for training")],
    "a misspelt machine": [("machineType: n1-standard-8", "machineType: n1_standard_8 #! did you mean n1-standard-8?")],
    "a size that there is not": [("machineType: n1-standard-8", "machineType: n1-standard-12 #! did you mean n1-standard-16?")],
    "a custom machine": [("machineType: n1-standard-8", "machineType: n1-custom-8-32768 #! is no machine type for training; there are the families a2, ")],
    "no machine": [("machineType: g2-standard-24, ", ""), ("acceleratorCount: 2}", "acceleratorCount: 2} #! machineType: is missing")],
    "no machineSpec": [("  - machineSpec: {machineType: g2-standard-24, acceleratorType: NVIDIA_L4, acceleratorCount: 2}\n    replicaCount: 2", "  - replicaCount: 2 #! machineSpec: is missing")],
    "a number of accelerators that does not go": [("acceleratorCount: 2\n", "acceleratorCount: 3 #! 3 × NVIDIA_TESLA_T4 does not go with n1-standard-8; possible here: 1, 2, 4 × NVIDIA_TESLA_T4\n")],
    "too few for a large machine": [("machineType: n1-standard-8", "machineType: n1-standard-32"), ("acceleratorCount: 2\n", "acceleratorCount: 1 #! possible here: 2, 4\n")],
    "another number than the machine has": [("acceleratorCount: 2}", "acceleratorCount: 1} #! possible here: 2 × NVIDIA_L4; 1 × NVIDIA_L4 go with g2-standard-4")],
    "an accelerator that does not go": [("NVIDIA_TESLA_T4", "NVIDIA_L4 #! 2 × NVIDIA_L4 go with g2-standard-24")],
    "an accelerator on a plain machine": [("machineType: n1-standard-8", "machineType: n2-standard-8"), ("NVIDIA_TESLA_T4", "NVIDIA_TESLA_T4 #! does not go with n2-standard-8; it takes none: remove it; 2 × NVIDIA_TESLA_T4 go with n1-standard-4")],
    "an accelerator without a number": [("      acceleratorCount: 2\n", ""), ("NVIDIA_TESLA_T4", "NVIDIA_TESLA_T4 #! NVIDIA_TESLA_T4 alone does not go with n1-standard-8")],
    "a number without an accelerator": [("      acceleratorType: NVIDIA_TESLA_T4\n", ""), ("acceleratorCount: 2\n", "acceleratorCount: 2 #! 2 alone does not go with n1-standard-8; possible here: 1, 2, 4 × NVIDIA_TESLA_T4; \n")],
    "a machine's own accelerator left out": [(", acceleratorType: NVIDIA_L4, acceleratorCount: 2}", "} #! possible here: 2 × NVIDIA_L4")],
    "a K80": [("NVIDIA_TESLA_T4", "NVIDIA_TESLA_K80 #! NVIDIA_TESLA_K80 is gone since 2024-05-01; NVIDIA_TESLA_T4 on n1-standard-4")],
    "a P100": [("NVIDIA_TESLA_T4", "NVIDIA_TESLA_P100 #! is gone since 2026-09-15; take NVIDIA_L4")],
    "a reservation without a name": [("acceleratorCount: 2}", "acceleratorCount: 2, reservationAffinity: {reservationAffinityType: SPECIFIC_RESERVATION, key: compute.googleapis.com/reservation-name}} #! values: is missing")],
    "a reservation without a key": [("acceleratorCount: 2}", "acceleratorCount: 2, reservationAffinity: {reservationAffinityType: SPECIFIC_RESERVATION, values: [mine]}} #! key: is missing, and SPECIFIC_RESERVATION needs it")],
    "a topology without a TPU": [("acceleratorCount: 2}", "acceleratorCount: 2, tpuTopology: 1x1} #! 1x1 does not go with g2-standard-24; remove it")],
    "an unknown disk": [("pd-ssd", "ssd"), ("bootDiskSizeGb: 200}", "bootDiskSizeGb: 200} #! did you mean pd-ssd?")],
    "too small a disk": [("bootDiskSizeGb: 200}", "bootDiskSizeGb: 50} #! 50 GB is no size of a boot disk; write 100")],
    # Pools
    "two chiefs": [("    replicaCount: 1", "    replicaCount: 2 #! a job has one chief")],
    "no replica": [("replicaCount: 2", "replicaCount: 0 #! is 0: a pool has machines; write 1 or more, or {}")],
    "less than none": [("replicaCount: 2", "replicaCount: -1 #! is -1")],
    "no replicaCount": [("    replicaCount: 2\n", ""), ("acceleratorCount: 2}", "acceleratorCount: 2} #! replicaCount: is missing")],
    "five pools": [("scheduling:", "  - {}\n  - {}\n  - {machineSpec: {machineType: n2-standard-4}, replicaCount: 1, containerSpec: {}} #! there are 5 pools\nscheduling:")],
    "servers without workers": [("  - machineSpec: {machineType: g2", "  - {} #! parameter servers need workers\n  - machineSpec: {machineType: g2")],
    "no chief": [("workerPoolSpecs:\n", "workerPoolSpecs:\n  - {} #! the first pool is the chief's\n")],
    "nothing to run": [("    replicaCount: 2\n    containerSpec: {args: []}", "    replicaCount: 2"), ("acceleratorCount: 2}", "acceleratorCount: 2} #! has neither containerSpec nor pythonPackageSpec")],
    "a Reduction Server without GPUs": [("machineType: g2-standard-24, acceleratorType: NVIDIA_L4, acceleratorCount: 2}", "machineType: n2-standard-4} #! workers have no GPU; a Reduction Server, which has none"), ("scheduling:", "  - machineSpec: {machineType: n1-highcpu-16}\n    replicaCount: 2\n    containerSpec: {imageUri: us-docker.pkg.dev/vertex-ai-restricted/training/reductionserver:latest}\nscheduling:")],
    "a Reduction Server without workers": [("  - machineSpec: {machineType: g2-standard-24, acceleratorType: NVIDIA_L4, acceleratorCount: 2}\n    replicaCount: 2\n    containerSpec: {args: []}", "  - {} #! workers have no GPU; a Reduction Server"), ("scheduling:", "  - machineSpec: {machineType: n1-highcpu-16}\n    replicaCount: 2\n    containerSpec: {imageUri: us-docker.pkg.dev/vertex-ai-restricted/training/reductionserver:latest}\nscheduling:")],
    "a Reduction Server with GPUs of its own": [("scheduling:", "  - machineSpec: {machineType: g2-standard-4, acceleratorType: NVIDIA_L4, acceleratorCount: 1} #! have GPUs; a Reduction Server, which has none\n    replicaCount: 2\n    containerSpec: {imageUri: us-docker.pkg.dev/vertex-ai-restricted/training/reductionserver:latest}\nscheduling:")],
    # What runs
    "too long": [("containerSpec: {args: []}", f"containerSpec: {{args: [--monitor={'x' * 100_002}]}} #! holds 100,012 characters, and the service takes 100,000")],
    "a command": [("containerSpec: {args: []}", "containerSpec: {command: [sh, -c, ls]} #! command: runs no module of trainer or codec")],
    "a script in a command": [("containerSpec: {args: []}", "containerSpec: {command: [python, train.py]} #! command: runs no module of trainer or codec")],
    "a module that there is not": [("containerSpec: {args: []}", "containerSpec: {command: [python, -m, trainer.nothing]} #! runs no module of trainer or codec, which the project's image holds; remove it, or let it run trainer.task")],
    "a module that the image does not hold": [("containerSpec: {args: []}", "containerSpec: {command: [python, -m, scripts.check]} #! runs no module of trainer or codec")],
    "a module that the package does not hold": [("containerSpec: {args: []}", "pythonPackageSpec: {pythonModule: other.task} #! pythonModule: runs no module of trainer or codec")],
    "a wrong flag in a command": [("containerSpec: {args: []}", "containerSpec: {command: [python3, -u, -m, trainer.task, --epochs=0]} #! command[4]: the trainer says: argument --epochs: '0'")],
    "a variable with a wrong value": [("containerSpec: {args: []}", "containerSpec: {args: [--epochs=$(N)], env: [{name: N, value: few}]} #! argument --epochs: 'few' is not a number")],
    "an unknown variable": [("containerSpec: {args: []}", "containerSpec: {args: [--epochs=$(HOME)]} #! argument --epochs: '$(HOME)' is not a number")],
    "Container Registry": [("imageUri: trainer", "imageUri: gcr.io/my-lab/trainer #! takes no images since 2025-03-18")],
    "Container Registry in Europe": [("imageUri: trainer", "imageUri: eu.gcr.io/my-lab/trainer #! takes no images since 2025-03-18")],
    "an image of Google's that is gone": [("imageUri: trainer", "imageUri: us-docker.pkg.dev/vertex-ai/training/tf-cpu.2-17.py310:latest #! TensorFlow up to 2.17 are gone since 2026-07-11; write trainer")],
    "an image that is gone for long": [("imageUri: trainer", "imageUri: europe-docker.pkg.dev/vertex-ai/training/tf-gpu.2-4:latest #! TensorFlow up to 2.17 are gone")],
    "an image as an address": [("imageUri: trainer", "imageUri: https://us-central1-docker.pkg.dev/my-lab/a/b #! is not written as an image")],
    "a package that is not in a bucket": [("containerSpec: {args: []}", "pythonPackageSpec: {executorImageUri: python, pythonModule: trainer.task, packageUris: [dist/a.tar.gz]} #! dist/a.tar.gz is not in a bucket")],
    "a package without an image": [("containerSpec: {args: []}", "pythonPackageSpec: {pythonModule: theirs.train, packageUris: [gs://lab/a.tar.gz]} #! executorImageUri: is missing: the packages have no image")],
    "no module": [("containerSpec: {args: []}", "pythonPackageSpec: {executorImageUri: python, packageUris: [gs://lab/a.tar.gz]} #! pythonModule: is missing; write pythonModule")],
    "101 packages": [("containerSpec: {args: []}", f"pythonPackageSpec: {{executorImageUri: python, pythonModule: a, packageUris: [{', '.join(['gs://lab/a.tar.gz'] * 101)}]}} #! packageUris: holds 101 packages, and the service takes 100")],
    "101 variables": [("containerSpec: {args: []}", f"containerSpec: {{env: [{', '.join(f'{{name: V{i}, value: x}}' for i in range(101))}]}} #! env: holds 101 variables, and the service takes 100")],
    "an illegal variable": [("name: TEAM", "name: MY-TEAM #! is no name of a variable")],
    "a variable of the service": [("name: TEAM", "name: TF_CONFIG #! TF_CONFIG is set by the service")],
    "another variable of the service": [("name: TEAM", "name: AIP_MODEL_DIR #! is set by the service")],
    "a variable twice": [("          value: seals", "          value: seals\n        - name: TEAM #! TEAM stands twice in this list\n          value: x")],
    "a variable without a value": [("\n          value: seals", " #! value: is missing")],
    "a wrong value of a flag": [("_rate=0.01]", "_rate=fast] #! argument --learning-rate: 'fast' is not a number")],
    "two wrong values": [('"--epochs=3"', '"--epochs=0"'), ('"64"', '"-64"'), ("_rate=0.01]", "_rate=0.01] #! '0' is not a whole number above 0 #! '-64' is not a whole number above 0")],
    "a flag that the trainer does not have": [("_rate=0.01]", "_rat=0.01] #! the trainer has no flag --learning-rat; did you mean --learning-rate?")],
    "an abbreviated flag": [("--learning_rate=0.01]", "--lr=0.01] #! the trainer has no flag --lr; python -m trainer.task --help")],
    "a word that is no flag": [("containerSpec: {args: []}", "containerSpec: {args: [epochs=3]} #! epochs=3 is no flag")],
    # Scheduling
    "no timeout": [("  timeout: 3600s", "  disableRetries: true"), ("scheduling:", "scheduling: #! timeout: is missing")],
    "no scheduling": [("scheduling:\n  timeout: 3600s\n", ""), ("workerPoolSpecs:", "workerPoolSpecs: #! scheduling.timeout: is missing")],
    "no time": [("timeout: 3600s", "timeout: 0s #! is 0s")],
    "eight days": [("timeout: 3600s", "timeout: 691200s #! is 691200s: it ends a job that hangs, and 604800s is the most")],
    "restarts without retries": [("  timeout: 3600s", "  timeout: 3600s\n  disableRetries: true\n  restartJobOnWorkerRestart: true #! has no effect beside disableRetries")],
    "an old strategy": [("  timeout: 3600s", "  timeout: 3600s\n  strategy: LOW_COST #! LOW_COST is an old name; write SPOT")],
    "waiting without a queue": [("  timeout: 3600s", "  timeout: 3600s\n  maxWaitDuration: 3600s #! how long a FLEX_START job waits")],
    "a negative wait": [("  timeout: 3600s", "  timeout: 3600s\n  maxWaitDuration: -1s #! is -1s: how long a FLEX_START job waits")],
    "flex-start with an old GPU": [("  timeout: 3600s", "  timeout: 3600s\n  strategy: FLEX_START #! not for NVIDIA_TESLA_T4")],
    "flex-start with two kinds of machine": [("n1-standard-8", "g2-standard-8"), ("NVIDIA_TESLA_T4", "NVIDIA_L4"), ("acceleratorCount: 2\n", "acceleratorCount: 1\n"), ("  timeout: 3600s", "  timeout: 3600s\n  strategy: FLEX_START #! needs the same machineSpec in all pools")],
    # Places
    "a local output": [("gs://my-bucket/runs/1}", "runs/1} #! runs/1 is no folder in a bucket; write gs://BUCKET/PATH")],
    "a path that leaves its folder": [("gs://my-bucket/runs/1}", "gs://my-bucket/../x} #! a path has no empty parts, no . and no ..")],
    "a blank after gs": [("gs://my-bucket/runs/1}", '"gs:// my-bucket"} #! is no folder in a bucket')],
    "a person's account": [("robot@my-lab.iam.gserviceaccount.com", "me@gmail.com #! write NAME@PROJECT.iam.gserviceaccount.com")],
    "a network by its name": [("projects/12345/global/networks/lab", "default #! write projects/NUMBER/global/networks/NAME")],
    "a network by the project's id": [("projects/12345/global", "projects/my-lab/global"), ("networks/lab", "networks/lab #! with the project's number")],
    "a TensorBoard by its number": [("projects/12345/locations/us-central1/tensorboards/678", '"678" #! write projects/NUMBER/locations/REGION/tensorboards/ID')],
    # Several at once, by line
    "three at once": [("machineType: n1-standard-8", "machineType: n1-standard-9 #! is no machine type"), ("replicaCount: 2", "replicaCount: 0 #! is 0"), ("timeout: 3600s", "timeout: 1d #! a time is seconds with an s")],
}  # fmt: skip

IN_A_STUDY = {
    "no name": [("displayName: a study\n", ""), ("maxTrialCount: 12", "maxTrialCount: 12 #! displayName: is missing")],
    "too long a name": [("a study", "x" * 129 + " #! has 129 characters")],
    "a result in the file": [("maxTrialCount: 12", "maxTrialCount: 12\nstate: JOB_STATE_SUCCEEDED #! only the service writes this; remove it")],
    "a tuning field in the trial": [("  scheduling: {timeout: 600s}", "  scheduling: {timeout: 600s}\n  maxTrialCount: 3 #! did you mean maxTrialCount?"), ],
    "no trials": [("maxTrialCount: 12", "maxTrialCount: 0 #! is 0; write 1 or more")],
    "more at a time than there are": [("parallelTrialCount: 2", "parallelTrialCount: 20 #! more than there are trials: maxTrialCount is 12")],
    "less than no failures": [("maxFailedTrialCount: 3", "maxFailedTrialCount: -1 #! is -1")],
    "no metric": [("  metrics:\n    - metricId: val_loss\n      goal: MINIMIZE\n", "  metrics: [] #! metrics: is empty\n")],
    "a metric that is not reported": [("val_loss", "val_acuracy #! the trainer reports no val_acuracy; did you mean val_accuracy?")],
    "hypertune's default metric": [("val_loss", "training/hptuning/metric #! the trainer reports no training/hptuning/metric")],
    "a metric twice": [("      goal: MINIMIZE", "      goal: MINIMIZE\n    - metricId: val_loss #! val_loss stands twice\n      goal: MAXIMIZE")],
    "no goal": [("\n      goal: MINIMIZE", " #! goal: is missing; write goal: ")],
    "a goal left open": [("goal: MINIMIZE", "goal: GOAL_TYPE_UNSPECIFIED #! goal: is none; write MINIMIZE or MAXIMIZE")],
    "noise": [("  parameters:", "  observationNoise: HIGH #! is read by Vertex AI Vizier only\n  parameters:")],
    "a date that is none": [("  parameters:", "  studyStoppingConfig: {maximumRuntimeConstraint: {endTime: 2030-02-31T00:00:00}} #! is no value\n  parameters:")],
    "a date without a zone": [("  parameters:", "  studyStoppingConfig: {maximumRuntimeConstraint: {endTime: '2030-02-01 00:00'}} #! write it as \"2030-12-31T23:59:59Z\", in quotes\n  parameters:")],
    "a wrong goal": [("MINIMIZE", "minimise #! did you mean MINIMIZE?")],
    "a flag that there is not": [("learning_rate", "learningrate #! the trainer has no flag --learningrate; did you mean learning_rate?")],
    "a parameter without a name": [("    - parameterId: batch_size\n      discrete", "    - discrete"), ("[16, 32, 64]}", "[16, 32, 64]} #! parameterId: is missing #! the trainer has no flag --")],
    "a parameter twice": [("early-stopping", "learning-rate #! learning_rate is tuned twice"), ("{minValue: 2, maxValue: 16}", "{minValue: 1, maxValue: 2}")],
    "no values": [("\n      discreteValueSpec: {values: [16, 32, 64]}", " #! has no values to choose from")],
    "two kinds of values": [("      discreteValueSpec:", "      integerValueSpec: {minValue: 1, maxValue: 2} \n      discreteValueSpec:"), ("[16, 32, 64]}", "[16, 32, 64]} #! stands beside integerValueSpec")],
    "min above max": [("{minValue: 0.001, maxValue: 0.1}", "{minValue: 0.1, maxValue: 0.001} #! is 0.1, not below maxValue, 0.001")],
    "min as high as max": [("{minValue: 2, maxValue: 16}", '{minValue: "16", maxValue: 16} #! is 16, not below maxValue')],
    "zero on a log scale": [("minValue: 0.001", "minValue: 0"), ("scaleType: UNIT_LOG_SCALE", "scaleType: UNIT_LOG_SCALE #! needs values above 0, and the lowest is 0"), ("maxValue: 0.1}", "maxValue: 0.1} #! '0' is not a number above 0")],
    "a number as YAML reads it": [("minValue: 0.001", "minValue: 1e-3"), ("maxValue: 0.1}", "maxValue: 0.1} #! is 1e-3, which YAML takes for a text; write 0.001")],
    "a scale for categories": [("{values: [\"16\", \"64,32\"]}", "{values: [\"16\", \"64,32\"]}\n      scaleType: UNIT_LINEAR_SCALE #! categories have no scale")],
    "a short scale": [("UNIT_LOG_SCALE", "LOG #! did you mean UNIT_LOG_SCALE?")],
    "numbers as categories": [("[\"16\", \"64,32\"]}", "[16, \"64,32\"]} #! is 16, which is no text to YAML; put it in quotes")],
    "a category twice": [("[\"16\", \"64,32\"]}", "[\"16\", \"64,32\", \"16\"]} #! holds a value twice")],
    "values out of order": [("[16, 32, 64]", "[32, 16, 64]"), ("64]}\n    - parameterId: ear", "64]} #! must rise, each value above the one before; write [16, 32, 64]\n    - parameterId: ear")],
    "1001 values": [("[16, 32, 64]}", f"[{', '.join(map(str, range(1, 1002)))}]}} #! are 1001 values, and 1000 are taken")],
    "a value that the trainer refuses": [('["16", "64,32"]}', '["wide", "64,32"]} #! \'wide\' is no list of whole numbers')],
    "an end that the trainer refuses": [("{minValue: 0, maxValue: 0.5}", "{minValue: 0, maxValue: 1} #! argument --dropout: '1' is not a share")],
    "half an example a step": [("[16, 32, 64]}", "[16, 32.5, 64]} #! '32.5' is not a whole number above 0")],
    "a condition on nothing": [("        - parentCategoricalValues: {values: [\"64,32\"]}\n          parameterSpec:", "        - parameterSpec: #! does not say for which values")],
    "a condition of another kind": [("parentCategoricalValues: {values: [\"64,32\"]}", "parentIntValues: {values: [64]} #! a categoricalValueSpec, the parameter is there; write parentCategoricalValues")],
    "a condition that never holds": [("parentCategoricalValues: {values: [\"64,32\"]}", "parentCategoricalValues: {values: [\"32\"]} #! 32 is no value of the parent")],
    "a condition on a number that never holds": [("{minValue: 2, maxValue: 16}", "{minValue: 2, maxValue: 16}\n      conditionalParameterSpecs:\n        - parentIntValues: {values: [17]} #! 17 is no value of the parent\n          parameterSpec: {parameterId: weight_decay, doubleValueSpec: {minValue: 0, maxValue: 0.5}}")],
    "a grid of real numbers": [("  parameters:", "  algorithm: GRID_SEARCH\n  parameters:"), ("{minValue: 0.001, maxValue: 0.1}", "{minValue: 0.001, maxValue: 0.1} #! a GRID_SEARCH needs values that can be counted"), ("{minValue: 0, maxValue: 0.5}", "{minValue: 0, maxValue: 0.5} #! a GRID_SEARCH")],
    "a default": [("maxValue: 0.1}", "maxValue: 0.1, defaultValue: 0.01} #! is read by Vertex AI Vizier only")],
    "two ways to stop early": [("  parameters:", "  medianAutomatedStoppingSpec: {}\n  decayCurveStoppingSpec: {} #! stands beside\n  parameters:")],
    "a label in capitals": [("maxTrialCount: 12", "maxTrialCount: 12\nlabels: {Team: seals} #! Team: seals is no label")],
    "a fault in the trial": [("n2-standard-4}", "n2-standard-5} #! trialJobSpec.workerPoolSpecs[0].machineSpec.machineType: n2-standard-5 is no machine type")],
    "a trial without a timeout": [("  scheduling: {timeout: 600s}\n", ""), ("trialJobSpec:", "trialJobSpec: #! trialJobSpec.scheduling.timeout: is missing")],
}  # fmt: skip

TPU = """\
workerPoolSpecs:
  - machineSpec: {machineType: ct5lp-hightpu-4t, tpuTopology: 2x2}
    replicaCount: 1
    containerSpec: {args: []}
scheduling: {timeout: 600s}
"""
IN_A_TPU_JOB = {
    "no topology": [(", tpuTopology: 2x2}", "} #! tpuTopology: nothing does not go with ct5lp-hightpu-4t")],
    "a topology of another machine": [("2x2}", "1x1} #! 1x1 does not go with ct5lp-hightpu-4t; possible here: 2x2, 2x4")],
    "an accelerator beside the machine": [("tpuTopology: 2x2}", "tpuTopology: 2x2, acceleratorType: TPU_V5_LITEPOD, acceleratorCount: 4} #! 4 × TPU_V5_LITEPOD does not go with ct5lp-hightpu-4t; it takes none")],
    "two replicas": [("replicaCount: 1", "replicaCount: 2 #! a job has one chief")],
    "two pools": [("scheduling:", "  - {machineSpec: {machineType: n2-standard-4}, replicaCount: 1, containerSpec: {}}\nscheduling:"), ("2x2}", "2x2} #! a TPU job has one pool with one replica")],
    "a spot pod": [("2x2}", "4x4}"), ("{timeout: 600s}", "{timeout: 600s, strategy: SPOT} #! SPOT is not for TPU pods")],
    "a spot pod of old TPUs": [("ct5lp-hightpu-4t, tpuTopology: 2x2}", "cloud-tpu, acceleratorType: TPU_V3, acceleratorCount: 32}"), ("{timeout: 600s}", "{timeout: 600s, strategy: SPOT} #! SPOT is not for TPU pods")],
    "a part of an old TPU": [("ct5lp-hightpu-4t, tpuTopology: 2x2}", "cloud-tpu, acceleratorType: TPU_V3, acceleratorCount: 4} #! 4 × TPU_V3 does not go with cloud-tpu")],
}  # fmt: skip

# Whole files, for what is wrong with more than a place in them.
WHOLE = {
    "empty": "#! it holds no mapping; a job file begins with workerPoolSpecs:",
    "a list": "- machineSpec: {} #! it holds no mapping",
    "a text": "workerPoolSpecs #! it holds no mapping",
    "wrapped": "displayName: x\njobSpec: #! keep what stands below jobSpec",
    "wrapped in snake case": "custom_job: #! a message around the job\n  worker_pool_specs: []",
    "another file": "services: {web: {image: x}} #! services: the API has no such field here #! scheduling.timeout: is missing",
    "of the old service": "trainingInput: #! AI Platform Training, which was shut down in 2025; run: python TEMPLATE/tools/migrate_config.py job.yaml\n  scaleTier: BASIC",
    "of the old service, bare": "scaleTier: BASIC #! run: python TEMPLATE/tools/migrate_config.py job.yaml",
    "no pools": "scheduling: {timeout: 60s} #! workerPoolSpecs: is missing",
    "an empty list of pools": "workerPoolSpecs: [] #! workerPoolSpecs: is empty\nscheduling: {timeout: 60s}",
    "an open bracket": "workerPoolSpecs: [1\n#! not YAML: expected ',' or ']'",
    "an open quote": 'workerPoolSpecs: "x #! close the quotes',
    "a tab": "scheduling:\n\ttimeout: 60s #! indent with spaces, YAML takes no tabs",
    "a colon too many": "scheduling: timeout: 60s #! put a text that holds a colon in quotes",
    "two documents": "workerPoolSpecs: []\n--- #! keep one; a file is one job\na: 1",
    "a key twice": "scheduling: {timeout: 60s}\nscheduling: {timeout: 90s} #! stands twice, here and in line 1; keep one of them",
    "an unknown alias": "scheduling: *other #! an anchor, &name, must stand above its alias",
    "an alias of itself": "scheduling: &a [*a] #! an alias stands within its own anchor",
    "a tag": "scheduling: !!python/object:os.system {} #! job files take plain values",
    "a day that there is not": "serviceAccount: 2026-99-99 #! 2026-99-99 is no value",
    "a mapping for a key": "{[a, b]: c} #! a key must be a plain text",
}  # fmt: skip


def texts() -> dict[str, str]:
    """Return all of them by name, with their marks."""
    texts = {}
    for base, changes in ((JOB, IN_A_JOB), (STUDY, IN_A_STUDY), (TPU, IN_A_TPU_JOB)):
        for name, pairs in changes.items():
            text = base
            for old, new in pairs:
                assert text.count(old) == 1, f"{name}: {old!r} stands there {text.count(old)} times"
                text = text.replace(old, new)
            assert name not in texts, name
            texts[name] = text
    return texts | WHOLE


def expected(text: str) -> list[tuple[int, str]]:
    """Return (line, words of the fault) of each mark."""
    lines = enumerate(text.split("\n"), 1)
    return [(number, words.strip()) for number, line in lines for words in line.split("#!")[1:]]
