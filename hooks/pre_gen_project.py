"""Refuse bad answers, all at once, before a file is written.

The questions check each answer as it is given; --replay skips that, this does not.
{## ours ##}
"""

import os
import sys

os.remove(__file__)  # which Cookiecutter leaves in the folder for temporary files
FAULTS = "{{ cookiecutter | faults | join('\n') | quoted_inside }}"

if FAULTS:
    sys.stderr.reconfigure(errors="backslashreplace")
    print(FAULTS, file=sys.stderr)
    sys.exit(1)
