#!/bin/sh
# Gradescope runs this once, when it builds the autograder's image. Choose a container with 6 GB there.
# Its zip: this repo (git archive HEAD), with this folder's two files at its top.
set -e
apt-get update && apt-get install -y python3 python3-venv git bubblewrap
python3 -m venv /autograder/environment
cd /autograder/source && git init -q && git add -A -f
/autograder/environment/bin/pip install -c constraints.txt -e '.[dev]'
chmod 700 /autograder/source # no other user reads the labels
