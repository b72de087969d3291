"""Looks at this project's jobs on Vertex AI, ends them, brings back what they wrote.

    python scripts/jobs.py list
    python scripts/jobs.py show ID      how it is, why it failed, where all of it lies
    python scripts/jobs.py logs ID --follow
    python scripts/jobs.py cancel ID
    python scripts/jobs.py cost [ID ...]
    python scripts/jobs.py fetch ID     its folder, to runs/

ID is a job's name, its number, its resource name, or the beginning of one, if no other begins so.
"""

from launcher.cli import command

VERBS = ("list", "show", "logs", "cancel", "cost", "fetch")


def count(text: str) -> int:
    return int(command.amount(text))


def main(argv: list[str]) -> int:
    parser = command.new_parser(__doc__)
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    for name in VERBS:
        verb = verbs.add_parser(name)
        verb.set_defaults(verb=name)
        if name == "list":
            verb.add_argument("--all", action="store_true", help="also those of other projects")
            verb.add_argument("--most", type=count, default=50, help="the newest so many (50)")
        else:
            verb.add_argument("id", metavar="ID", nargs="*" if name == "cost" else None)
        if name in ("list", "show"):
            verb.add_argument("--json", action="store_true", help="for programs")
        if name == "logs":
            verb.add_argument("--follow", action="store_true", help="until it ends, and as it ends")
    options = parser.parse_args(argv)
    from launcher.cloud import jobs  # --help needs none of it

    run = jobs.list_ if options.verb == "list" else getattr(jobs, options.verb)
    return command.run(lambda: run(options))
