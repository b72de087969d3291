"""Create what cloud jobs need, with gcloud, or print the commands.

create  start here: run or print the steps
steps   each step: look first, then the command
"""
