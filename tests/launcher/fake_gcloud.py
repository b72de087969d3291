"""A gcloud for tests: it keeps a list of what exists, logs its commands, and, like the real one, fails
where something is created that exists already.

Its state is the JSON file that FAKE_GCLOUD names: {"log": [[word, …], …], "faults": [[part of the
command, how often, message], …], and what exists}. The template's own tests run the real gcloud; this
one is there wherever these run.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

PATH = Path(os.environ["FAKE_GCLOUD"])
LOOKS = ("describe", "list", "get-iam-policy")


class Failed(Exception):
    """What is written to the errors."""


def run(state: dict, words: list[str]) -> object:
    for fault in state["faults"]:
        if fault[0] in " ".join(words) and fault[1]:
            fault[1] -= 1
            raise Failed(fault[2])
    names = [word for word in words if not word.startswith("--")]
    flags = dict(word.partition("=")[::2] for word in words if word.startswith("--"))
    match names:
        case ["services", "list"]:
            return [{"config": {"name": name}} for name in state["services"]]
        case ["services", "enable", *services]:
            state["services"] += services
        case ["billing", "projects", "describe", _]:
            return {"billingAccountName": state["billing"]}
        case ["billing", "budgets", "list"]:
            return state["budgets"]
        case ["billing", "budgets", "create"]:
            state["budgets"].append({"displayName": flags["--display-name"], **flags})
        case ["storage", "buckets", "describe", name]:
            return there(state["buckets"], name)
        case ["storage", "buckets", "create", name]:
            uniform = "--uniform-bucket-level-access" in flags
            made = {"location": flags["--location"].upper(), "uniform_bucket_level_access": uniform}
            create(state["buckets"], name, made)
        case ["storage", "buckets", "update", name]:
            bucket = there(state["buckets"], name)
            if file := flags.get("--lifecycle-file"):
                bucket["lifecycle_config"] = json.loads(Path(file).read_text(encoding="utf-8"))
            if "--uniform-bucket-level-access" in flags:
                bucket["uniform_bucket_level_access"] = True
        case ["artifacts", "repositories", "describe", name]:
            return there(state["repositories"], name)
        case ["artifacts", "repositories", "create", name]:
            create(state["repositories"], name, {"format": flags["--repository-format"].upper()})
        case ["iam", "service-accounts", "describe", email]:
            return there(state["accounts"], email)
        case ["iam", "service-accounts", "create", name]:
            email = f"{name}@{flags['--project']}.iam.gserviceaccount.com"
            create(state["accounts"], email, {"email": email})
        case ["iam", "service-accounts", "enable", email]:
            there(state["accounts"], email)["disabled"] = False
        case ["workbench", "instances", "describe", name]:
            return there(state.setdefault("workbenches", {}), name)
        case ["workbench", "instances", "create", name]:
            create(state["workbenches"], name, flags)
        case [*_, "get-iam-policy", name]:
            return {"bindings": state["bindings"].get(name, []), "etag": "x"}
        case [*_, "add-iam-policy-binding", name]:
            binding = {"role": flags["--role"], "members": [flags["--member"]]}
            state["bindings"].setdefault(name, []).append(binding)
        case _:
            raise Failed(f"Invalid choice: {names}")
    return None


def there(things: dict, name: str) -> dict:
    if name not in things:
        raise Failed(f"(gcloud.describe) {name} not found: 404.")
    return things[name]


def create(things: dict, name: str, made: dict) -> None:
    if name in things:
        raise Failed(f"HTTPError 409: {name} exists already.")
    things[name] = made


if __name__ == "__main__":
    state = json.loads(PATH.read_text(encoding="utf-8"))
    state["log"].append(sys.argv[1:])
    code = 0
    try:
        answer = run(state, sys.argv[1:])
        if "--format=json" in sys.argv:
            print(json.dumps(answer))
    except Failed as failed:
        print(f"ERROR: {failed}", file=sys.stderr)
        code = 1
    PATH.write_text(json.dumps(state), encoding="utf-8")
    sys.exit(code)
