"""Fits simple models to rows: python launcher/local/simple_models.py SCIKIT_LEARN FOLDER

SCIKIT_LEARN is where that is installed: it is no part of this repo's environment. FOLDER has rows.npz, as
`codec/baselines.py` writes it, and gets predicted.npz: names and seconds of the models, and what each
predicts for the new inputs, [models, rows] or [models, rows, outputs].
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

SMALL = 1 << 20  # values, up to which a second thread takes longer than it saves
ROUNDS = 100  # of boosting, fewer where so many trees of so many columns take minutes
WORK = 500_000  # rounds × columns × outputs at most


def main(folder: Path) -> None:
    import numpy as np
    from threadpoolctl import threadpool_limits

    warnings.simplefilter("ignore")  # such as of a fit that could go further
    with np.load(folder / "rows.npz") as rows:
        inputs, target, new_inputs = rows["inputs"], rows["target"], rows["new_inputs"]
        is_class = bool(rows["is_class"])
        outputs = len(np.unique(target)) if is_class else target[0].size
        models = make_models(rows["are_codes"], is_class, outputs)
    seconds, predicted = [], []
    with threadpool_limits(1 if inputs.size < SMALL else None):
        for model in models.values():
            start = time.perf_counter()
            model.fit(inputs, target)
            seconds.append(time.perf_counter() - start)
            predicted.append(model.predict(new_inputs).reshape(-1, *target.shape[1:]))
    np.savez(folder / "predicted.npz", names=[*models], seconds=seconds, predicted=predicted)


def make_models(are_codes, is_class: bool, outputs: int) -> dict:
    """Models by name, the simplest first.

    Args:
        are_codes: bool [columns]: whether a column is a number for each category.
        is_class: whether they predict classes.
        outputs: classes, or numbers that they predict.
    """
    from sklearn import compose, dummy, ensemble, linear_model, multioutput, pipeline, preprocessing

    spread = compose.make_column_transformer(
        (preprocessing.StandardScaler(), ~are_codes),
        (preprocessing.OneHotEncoder(handle_unknown="ignore"), are_codes),
    )
    rounds = max(10, min(ROUNDS, WORK // len(are_codes) // outputs))
    boosting = "gradient boosting" + (f", {rounds} rounds" if rounds < ROUNDS else "")
    options = {"categorical_features": are_codes, "random_state": 0, "max_iter": rounds}
    if is_class:
        linear = linear_model.LogisticRegression(max_iter=300)
        return {
            "the most frequent class": dummy.DummyClassifier(),
            "logistic regression": pipeline.make_pipeline(spread, linear),
            boosting: ensemble.HistGradientBoostingClassifier(**options),
        }
    trees = ensemble.HistGradientBoostingRegressor(**options)
    return {
        "the mean": dummy.DummyRegressor(),
        "ridge regression": pipeline.make_pipeline(spread, linear_model.Ridge()),
        boosting: multioutput.MultiOutputRegressor(trees),
    }


if __name__ == "__main__":
    sys.path[:1] = [sys.argv[1]]  # in place of this folder, whose names are not meant
    main(Path(sys.argv[2]))
