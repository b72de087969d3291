"""EDIT THIS FILE: metrics, report, answers."""

import numpy as np

from trainer.engine import answers, sections

METRICS = {"classification": {"loss": ("min", "cross-entropy"), "accuracy": ("max", "share right")}}


def describe_data(examples):
    return [sections.table("Shapes", ["shape"], [[name] for name in examples.classes])]


def evaluate(model, examples, context):
    counts = np.zeros((len(examples.classes),) * 2, int)
    for target, logits in context.predictions():
        np.add.at(counts, (target, logits.argmax(axis=1)), 1)
    return [sections.confusion("What it confuses", examples.classes, counts)]


def answer(examples, output):
    return answers.name_classes(output, examples.classes)
