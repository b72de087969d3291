"""Which split an image is in: the first share of its class, or of the groups, in the order of hashes.

Training keeps at least half of each class, however small, unless the shares that are held out are
more than a half together.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping


def split_of(number: int, total: int, eval_share: float, test_share: float) -> str:
    """The split of the image with this number in its class, from 1 to `total`."""
    most = _most_held_out(total, eval_share, test_share)
    evals = min(_count(total, eval_share), most)
    tests = min(_count(total, test_share), most - evals)
    return "test" if number <= tests else "eval" if number <= tests + evals else "train"


def split_groups(
    counts: Mapping[str, Mapping[str, int]], eval_share: float, test_share: float
) -> dict[str, str]:
    """The split of each group: whole groups, until a split has about its share of the images.

    A group is held out only where training keeps enough of each class. Where few groups are large,
    evaluation comes before the test, and gets the smallest group rather than none.

    Args:
        counts: images by group and label.
    """
    order = sorted(counts, key=lambda group: hashlib.sha256(group.encode()).digest())
    sizes = {group: sum(counts[group].values()) for group in order}
    classes: Counter[str] = Counter()
    for by_label in counts.values():
        classes.update(by_label)
    free = {
        label: _most_held_out(total, eval_share, test_share) for label, total in classes.items()
    }
    splits: dict[str, str] = {}

    def hold_out(group: str, split: str) -> int:
        """Images that are held out by it; 0 where training cannot spare them."""
        if group in splits or any(count > free[label] for label, count in counts[group].items()):
            return 0
        splits[group] = split
        for label, count in counts[group].items():
            free[label] -= count
        return sizes[group]

    for split, share in (("eval", eval_share), ("test", test_share)):
        held_out, wanted = 0, share * sum(sizes.values())
        for group in order:
            if held_out + sizes[group] / 2 <= wanted:
                held_out += hold_out(group, split)
        for group in sorted(order, key=sizes.get):
            if share and not held_out:
                held_out = hold_out(group, split)
    return {group: splits.get(group, "train") for group in order}


def _most_held_out(total: int, eval_share: float, test_share: float) -> int:
    """Images of a class that may be missing in training."""
    return total // 2 if eval_share + test_share <= 0.5 else total - 1


def _count(total: int, share: float) -> int:
    """Of a class; one at least where a split is wanted, and the class is not tiny."""
    return max(1, int(total * share + 0.5)) if share and total > 2 else 0
