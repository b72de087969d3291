"""What runs inside a job: `task.py` reads the flags, `loop.py` trains, `engine/` is the machinery.

Edit `model.py` (layers, loss, metrics, optimizer), `data.py` (files to batches), `outputs.py` (what the
report evaluates, metric names of studies, a client's answer), `options.py` (the flags of these three).
"""

from codec import files

PROJECT = "{{ cookiecutter.project_name | quoted_inside }}"
AUTHOR = "{{ cookiecutter.author | quoted_inside }}"
# The template's commit that this repo is from, for run.json.
TEMPLATE = "{{ '' | template_commit }}"
# What each run imports: a process that forks runs imports these first.
PRELOAD = ("trainer.data", "trainer.loop", "trainer.engine.export")
files.GFILE = "tensorflow.io.gfile"  # opens gs://; imported with the first such path
