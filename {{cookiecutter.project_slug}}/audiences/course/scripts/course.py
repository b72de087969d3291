#!/usr/bin/env python3
"""The course: what a student needs, and in the teacher's repo what a teacher needs.

python scripts/course.py train                       train with your flags
python scripts/course.py check                       run the visible tests
python scripts/course.py submit [--out FILE]         write the file to hand in
"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from course import student  # noqa: E402
from launcher.cli.command import new_parser, run  # noqa: E402

TEACHER = """
The teacher's, see teacher/README.md:

    python scripts/course.py release OUT                 the students' repo, proven
    python scripts/course.py collect ROSTER.csv FROM     what they handed in
    python scripts/course.py grade [--jobs N]            points for each
    python scripts/course.py publish                     grades.csv, feedback, leaderboard
"""


def main(argv: list[str]) -> int:
    has_teacher = (ROOT / "teacher").is_dir()
    parser = new_parser(__doc__ + (TEACHER if has_teacher else ""))
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    verbs.add_parser("train", help="train with your flags")
    verbs.add_parser("check", help="run the visible tests")
    verb = verbs.add_parser("submit", help="write the file to hand in")
    verb.add_argument("--out", type=Path, help=f"default: {student.SUBMISSION}")
    if has_teacher:
        add_teacher(verbs)
    options = vars(parser.parse_args(argv))
    name = options.pop("verb")
    return run(lambda: find_verb(name)(**options), "\nstopped; start the same command to resume")


def add_teacher(verbs) -> None:
    verb = verbs.add_parser("release", help="the students' repo, proven")
    verb.add_argument("out", type=Path, metavar="OUT", help="a new folder, or an earlier release")
    verb = verbs.add_parser("collect", help="what students handed in")
    text = "CSV: username,first_name,last_name,email,section"
    verb.add_argument("roster", type=Path, metavar="ROSTER", help=text)
    text = "a folder of zips or of repos, or an address with {username} in it"
    verb.add_argument("source", metavar="FROM", help=text)
    verb = verbs.add_parser("grade", help="points for each")
    verb.add_argument("--jobs", type=int, default=1, help="submissions at once (default: 1)")
    text = "without a sandbox: only for code that you would run yourself"
    verb.add_argument("--trusted", action="store_true", help=text)
    text = "grade this folder alone, into results.json beside it (Gradescope, Classroom 50)"
    verb.add_argument("--one", type=Path, metavar="DIR", help=text)
    verbs.add_parser("publish", help="grades.csv, feedback, leaderboard")


def find_verb(name: str):
    if name in ("train", "check", "submit"):
        return getattr(student, name)
    from importlib import import_module

    return getattr(import_module(f"teacher.{name}"), name)


if __name__ == "__main__":
    sys.stdout.reconfigure(errors="replace")  # a name that this console cannot show
    sys.exit(main(sys.argv[1:]))
