"""How the assignment's data was made from data/: run it again for other rings (python teacher/make_data.py).

Training birds were ringed species by species, so that a ring's number gives the species away. The
hidden birds were ringed in any order. Each is mixed from two real birds of its species, sex and
island: the real ones can be looked up. The length of the bill is left out, it makes the task too easy.
"""

import csv
import random
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LEFT_OUT = "bill_length_mm"
FIRST = {"Adelie": 1000, "Chinstrap": 2000, "Gentoo": 3000}


def main(seed: int = 2027) -> None:
    draw = random.Random(seed)
    training, hidden = read("penguins_train.csv"), read("penguins_eval.csv")
    for bird in training:
        bird["ring_number"] = FIRST[bird["species"]] + draw.randrange(1000)
    hidden = [mix(bird, training, draw) for bird in hidden]
    for bird in hidden:
        bird["ring_number"] = 1000 + draw.randrange(3000)
    draw.shuffle(hidden)  # students have penguins_eval.csv: its order would give the species away
    write(ROOT / "assignment/data/birds.csv", training)
    write(ROOT / "teacher/hidden/labels.csv", [{"species": bird.pop("species")} for bird in hidden])
    write(ROOT / "teacher/hidden/features.csv", hidden)


def mix(bird: dict, others: list[dict], draw: random.Random) -> dict:
    """A bird between this one and another like it."""
    same = ("species", "sex", "island")
    other = draw.choice(
        [o for o in others if all(o[name] == bird[name] for name in same)] or [bird]
    )
    share, mixed = draw.random(), dict(bird)
    for name in ("bill_depth_mm", "flipper_length_mm", "body_mass_g"):
        if bird[name] and other[name]:
            value = share * float(bird[name]) + (1 - share) * float(other[name])
            mixed[name] = f"{value:.1f}" if name == "bill_depth_mm" else f"{value:.0f}"
    return mixed


def read(name: str) -> list[dict]:
    with open(ROOT / "data" / name, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row[LEFT_OUT]
    return rows


def write(path: Path, rows: list[dict]) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
