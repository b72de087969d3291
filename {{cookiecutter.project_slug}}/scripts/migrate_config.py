#!/usr/bin/env python3
"""Writes today's job file from one of AI Platform Training, which was shut down in 2025.

    python scripts/migrate_config.py OLD.yaml [-o NEW.yaml]

Without -o: OLD_vertex.yaml beside it. A comment in the new file stands at each thing that changed
its meaning. What is left for you to mend is told, and the exit code is 2 then.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from launcher.jobfile import spec
from launcher.jobfile.migrate import migrate


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="OLD.yaml", help="a file with trainingInput:")
    parser.add_argument("-o", "--output", type=Path, metavar="NEW.yaml", help="the file to write")
    parser.add_argument("--force", action="store_true", help="overwrite NEW.yaml if it is there")
    args = parser.parse_args(argv)
    new = args.output or args.old.with_name(f"{args.old.stem}_vertex.yaml")
    try:
        text = migrate(args.old)
        with open(new, "w" if args.force else "x", encoding="utf-8", newline="\n") as file:
            file.write(text)
    except spec.SpecError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except FileExistsError:
        print(f"error: {new} is there already; --force overwrites it", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: {new}: cannot be written ({error.strerror or error})", file=sys.stderr)
        return 2
    try:
        spec.load(new)
    except spec.SpecError as error:
        print(f"wrote {new}; this is left for you:", flush=True)
        print(error, file=sys.stderr)
        return 2
    print(f"wrote {new}; python scripts/check.py finds nothing wrong in it")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
