#!/usr/bin/env python3
"""Convert a job file of AI Platform Training, which was shut down in 2025, to one of Vertex AI.

    cd YOUR-REPO
    python TEMPLATE/tools/migrate_config.py OLD.yaml [-o NEW.yaml]

Without -o, the new file is OLD_vertex.yaml beside the old one. A comment in it marks each field whose
meaning changed. It is then checked with the launcher of YOUR-REPO; what you must still correct is
printed, and the exit code is 2.

Compare these yourself, since no comment marks them in the new file:
- a TPU pod, such as 32 cores of TPU_V3, becomes one chip
- the images of workers and parameter servers
- scheduling.priority
- the values of labels
"""

import argparse
import os
import sys
from pathlib import Path


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("old", type=Path, metavar="OLD.yaml", help="a file with trainingInput:")
    parser.add_argument("-o", "--output", type=Path, metavar="NEW.yaml", help="the file to write")
    parser.add_argument("--force", action="store_true", help="overwrite NEW.yaml if it is there")
    args = parser.parse_args(argv)
    if not Path("launcher/jobfile/spec.py").is_file():
        parser.error("there is no launcher/jobfile here; run this in the folder of your repo")
    sys.path.insert(0, os.getcwd())
    from launcher.jobfile import spec
    from legacy.migrate import migrate

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
