"""What runs inside a job, and nothing else is shipped to it: start at `task.py`."""

from codec import files

PROJECT = "{{ cookiecutter.project_name | quoted_inside }}"
AUTHOR = "{{ cookiecutter.author | quoted_inside }}"
files.GFILE = "tensorflow.io.gfile"  # opens gs://; imported with the first such path
