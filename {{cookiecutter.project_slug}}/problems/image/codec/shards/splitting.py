"""Which split an image is in: the first share of its class, or of the groups, in order of hashes.

Training keeps at least half of each class, however small, unless the held-out shares are more than
a half together.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from codec.split import rank


def split_image(number: int, total: int, eval_share: float, test_share: float) -> str:
    """The split of the image with this number in its class, from 1 to `total`."""
    most = _limit_held_out(total, eval_share, test_share)
    evals = min(_count_share(total, eval_share), most)
    tests = min(_count_share(total, test_share), most - evals)
    return "test" if number <= tests else "eval" if number <= tests + evals else "train"


def split_groups(
    counts: Mapping[str, Mapping[str, int]], eval_share: float, test_share: float
) -> dict[str, str]:
    """The split of each group: these shares of the groups are held out, at least one for each.

    A group stays in training where that would otherwise lose too much of a class. Where groups are
    few, evaluation comes before the test.

    Args:
        counts: images by group and label.
    """
    classes: Counter[str] = Counter()
    for by_label in counts.values():
        classes.update(by_label)
    free = {
        label: _limit_held_out(total, eval_share, test_share) for label, total in classes.items()
    }
    splits = dict.fromkeys(rank(counts), "train")
    for split, share in (("eval", eval_share), ("test", test_share)):
        missing = max(1, round(len(splits) * share)) if share else 0
        for group in splits:
            by_label = counts[group]
            is_free = all(count <= free[label] for label, count in by_label.items())
            if missing and is_free and splits[group] == "train":
                splits[group] = split
                missing -= 1
                for label, count in by_label.items():
                    free[label] -= count
    return splits


def _limit_held_out(total: int, eval_share: float, test_share: float) -> int:
    """Images of a class that training can do without."""
    return total // 2 if eval_share + test_share <= 0.5 else total - 1


def _count_share(total: int, share: float) -> int:
    """Images of a class; at least one where a split is wanted and the class is not tiny."""
    return max(1, int(total * share + 0.5)) if share and total > 2 else 0
