"""Create what cloud jobs need, with gcloud, or print the commands.

create  start here: the steps, each of which looks first; running commands, or printing them
"""
