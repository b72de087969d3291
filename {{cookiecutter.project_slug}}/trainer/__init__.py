"""What runs inside a job, and nothing else is shipped to it: start at `task.py`."""

PROJECT = "{{ cookiecutter.project_name | quoted_inside }}"
AUTHOR = "{{ cookiecutter.author | quoted_inside }}"
