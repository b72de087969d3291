#!/usr/bin/env python3
"""See --help, or launcher/doctor/doctor.py. Works before anything is installed."""

import os
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    # This file alone is plain enough for any Python, even one of the last century.
    if sys.version_info < (3, 10):  # noqa: UP036
        version = sys.version.split()[0]
        print("wrong    python           " + version + " is too old; install 3.10 to 3.13")
        return 1
    from launcher.doctor import doctor

    return doctor.main(sys.argv[1:])


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # `… | head` has seen enough
        os._exit(0)
    sys.stdout.flush()
    os._exit(code)  # a check that hangs is not waited for
