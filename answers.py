"""What a legal answer is: one check per question, standard library only.

A check returns None, or the rest of one line that says what is wrong and what to write instead.
`answers_jinja.py` calls the checks after each question, and all of them again before generation.
"""

import difflib
import keyword
import re
import sys
import unicodedata
from pathlib import Path

# Each kind of data is a folder of files that are laid over the others; the first is the default.
_FOLDERS = Path(__file__).with_name("{{cookiecutter.project_slug}}")
_KINDS = {folder.name for folder in _FOLDERS.joinpath("problems").iterdir()}
PROBLEMS = ("tabular", *sorted(_KINDS - {"tabular"}))
AUDIENCES = ("research", "course")
# Kinds of data with an assignment.
COURSES = sorted(p.name for p in _FOLDERS.joinpath("audiences/course/problems").iterdir())
LICENSES = ("MIT", "Apache-2.0", "BSD-3-Clause", "none")

# Where Vertex AI runs: SUPPORTED_REGIONS of google-cloud-aiplatform 2.7.0, read in November 2026,
# without "global", where no training job runs. To renew: google.cloud.aiplatform.constants.base.
REGIONS = (
    "africa-south1", "asia-east1", "asia-east2", "asia-northeast1", "asia-northeast2",
    "asia-northeast3", "asia-south1", "asia-south2", "asia-southeast1", "asia-southeast2",
    "australia-southeast1", "australia-southeast2", "europe-central2", "europe-north1",
    "europe-north2", "europe-southwest1", "europe-west1", "europe-west2", "europe-west3",
    "europe-west4", "europe-west6", "europe-west8", "europe-west9", "europe-west12",
    "me-central1", "me-central2", "me-west1", "northamerica-northeast1",
    "northamerica-northeast2", "southamerica-east1", "southamerica-west1", "us-central1",
    "us-east1", "us-east4", "us-east5", "us-east7", "us-south1", "us-west1", "us-west2",
    "us-west3", "us-west4", "us-west8",
)  # fmt: skip

# A repo under one of these names would shadow, or be shadowed by, what its own code imports.
OUR_FOLDERS = "assignment audiences codec configs course data launcher notebooks predictor problems scripts serving teacher trainer test tests runs"
OUR_DEPENDENCIES = (
    "build filelock google-cloud-aiplatform google-cloud-storage google-crc32c httptools ipykernel jinja2 keras"
    " matplotlib nbclient nbformat numpy onnx onnxruntime optuna orjson pillow pip polars pyarrow pytest"
    " pyyaml rich ruff setuptools starlette tensorboard tensorflow tf tf-keras tf2onnx uv uvicorn uvloop"
    " wheel yaml"
)
WINDOWS_DEVICES = ["con", "prn", "aux", "nul"] + [
    f"{device}{number}" for device in ("com", "lpt") for number in range(10)
]
SLUG_LENGTH = 40  # keeps every path of the repo below what Windows takes
TEXT_LENGTH = 500  # the package index refuses a longer summary


def _shown(text: str) -> str:
    """The answer, quoted on one line: short, and printable whatever it holds."""
    return repr(text if len(text) <= 50 else text[:47] + "...")


def _nearest(text: str, choices) -> str:
    """` (did you mean x?)` where one of the choices is near, else nothing."""
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(text.strip().lower(), list(by_lower), n=1)
    return f" (did you mean {by_lower[near[0]]}?)" if near else ""


def _unwritable(character: str) -> bool:
    """True for what TOML, YAML, JSON and package metadata cannot all hold on one line."""
    code = ord(character)
    nonsense = code & 0xFFFE == 0xFFFE or 0xFDD0 <= code <= 0xFDEF  # never assigned, by Unicode
    return nonsense or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _check_text(text: str, example: str) -> str | None:
    for place, character in enumerate(text, 1):
        if _unwritable(character):
            return (
                f"character {place} is U+{ord(character):04X}, a control character or line break"
                f" that no config file can hold; write one line of text, such as {example}"
            )
    if not text.strip():
        return f"is empty; write one line of text, such as {example}"
    if text != text.strip():
        return f"starts or ends with a blank; write {_shown(text.strip())}"
    if len(text) > TEXT_LENGTH:
        return f"has {len(text)} characters; write at most {TEXT_LENGTH}, such as {example}"
    return None


def check_project_name(text: str) -> str | None:
    return _check_text(text, "Penguin Study")


def check_author(text: str) -> str | None:
    return _check_text(text, "Ada Lovelace")


def _taken(slug: str) -> str | None:
    """Why a well-formed slug cannot be used, or None."""
    name = slug.replace("-", "_")

    def among(names) -> bool:
        return name in {each.lower().replace("-", "_") for each in names}

    if among(keyword.kwlist + keyword.softkwlist):
        return "a word of the Python language"
    if among(sys.stdlib_module_names):
        return "a module of Python's standard library"
    if among(OUR_DEPENDENCIES.split()):
        return "a package that the repo itself uses"
    if among(OUR_FOLDERS.split()):
        return "a folder inside the repo"
    if among(WINDOWS_DEVICES):
        return "a device name that Windows reserves"
    return None


def slug_from(text: str) -> str:
    """A legal slug that looks like the text: `Größe & Mehr` gives `grosse-mehr`."""
    ascii_text = unicodedata.normalize("NFKD", text.casefold()).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^a-z0-9_]+", "-", ascii_text).lstrip("0123456789-_")
    slug = slug[:SLUG_LENGTH].rstrip("-_") or "my-project"
    return f"{slug}-project" if _taken(slug) else slug


def check_project_slug(slug: str) -> str | None:
    write = f"write {slug_from(slug)}"
    if not slug:
        return "is empty; write a folder name such as penguin-study"
    if len(slug) > SLUG_LENGTH:
        return f"{_shown(slug)} has {len(slug)} characters, at most {SLUG_LENGTH} fit; {write}"
    if not re.fullmatch(r"[a-z]([a-z0-9_-]*[a-z0-9])?", slug):
        return (
            f"{_shown(slug)} is not lower-case letters, digits, - and _, a letter first and a"
            f" letter or digit last; {write}"
        )
    if why := _taken(slug):
        return f"{_shown(slug)} is {why} and would clash with it; {write}"
    return None


def check_problem(name: str) -> str | None:
    if name in PROBLEMS:
        return None
    return f"{_shown(name)} is not offered; write {' or '.join(PROBLEMS)}{_nearest(name, PROBLEMS)}"


def check_audience(name: str) -> str | None:
    if name in AUDIENCES:
        return None
    return (
        f"{_shown(name)} is not offered; write {' or '.join(AUDIENCES)}{_nearest(name, AUDIENCES)}"
    )


def check_license(name: str) -> str | None:
    if name in LICENSES:
        return None
    return f"{_shown(name)} is not offered; write {', '.join(LICENSES)}{_nearest(name, LICENSES)}"


def check_gcp_project(project: str) -> str | None:
    if not project or re.fullmatch(r"[a-z][a-z0-9-]{4,28}[a-z0-9]", project):
        return None
    if project.isdigit():
        return f"{_shown(project)} is a project number; write the project id, such as my-lab-4711"
    return (
        f"{_shown(project)} is not a project id (6 to 30 lower-case letters, digits and -, a"
        " letter first, no - last); write it as the Cloud console shows it, such as my-lab-4711,"
        " or leave it empty"
    )


def check_gcp_region(region: str) -> str | None:
    if region in REGIONS:
        return None
    zone = re.fullmatch(r"(.+)-[a-z]", region)
    if zone and zone[1] in REGIONS:
        return f"{_shown(region)} is a zone; write its region, {zone[1]}"
    return (
        f"{_shown(region)} is not a region of Vertex AI{_nearest(region, REGIONS)};"
        " write one such as us-central1 or europe-west4"
    )


def check_gcs_bucket(bucket: str) -> str | None:
    """The naming rules of Cloud Storage; a name with dots is a domain, part by part."""
    if not bucket:
        return None
    write = "write the bucket's name alone, such as my-lab-runs, or leave it empty"
    shown = _shown(bucket)
    if "://" in bucket or "/" in bucket:
        return f"{shown} is a path or a URL; {write}"
    parts = bucket.split(".")
    if not all(re.fullmatch(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?", part) for part in parts):
        return f"{shown} is not lower-case letters, digits, -, _ and . between them; {write}"
    if not 3 <= len(bucket) <= 222 or max(map(len, parts)) > 63:
        return f"{shown} has {len(bucket)} characters, 3 to 63 are allowed; {write}"
    if re.fullmatch(r"\d+\.\d+\.\d+\.\d+", bucket):
        return f"{shown} looks like an IP address, which Cloud Storage refuses; {write}"
    if bucket.startswith("goog") or re.search(r"g[o0]{2}g[l1]e", bucket):
        return f"{shown} holds a form of Google's own name, which Cloud Storage refuses; {write}"
    return None


CHECKS = {
    "project_name": check_project_name,
    "project_slug": check_project_slug,
    "problem": check_problem,
    "audience": check_audience,
    "author": check_author,
    "license": check_license,
    "gcp_project": check_gcp_project,
    "gcp_region": check_gcp_region,
    "gcs_bucket": check_gcs_bucket,
}


def fault(question: str, answer: object) -> str | None:
    """One line that names the question and says what to write, or None for a legal answer."""
    if not isinstance(answer, str):
        return f"{question}: is {answer!r}; write text"
    problem = CHECKS[question](answer)
    return f"{question}: {problem}" if problem else None


def faults(answers) -> list[str]:
    """One line for each bad answer; a question that has no answer counts as bad."""
    lines = [fault(question, answers.get(question)) for question in CHECKS]
    if answers.get("audience") == "course" and answers.get("problem") not in COURSES:
        kinds = " or ".join(COURSES)
        lines.append(f"audience: course has no assignment for this problem; write problem {kinds}")
    return [line for line in lines if line]


def unknown_questions(names) -> list[str]:
    """One line for each name that is no question: cookiecutter would ignore it without a word."""
    return [
        f"{name}: is not a question{_nearest(name, CHECKS)}; write one of {', '.join(CHECKS)}"
        for name in names
        if name not in CHECKS
    ]
