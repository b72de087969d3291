"""Create what cloud jobs need, with gcloud, or print the commands.

create  start here: the steps, each of which looks first
gcloud  run the commands, or print them
"""
