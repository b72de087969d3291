"""Create what cloud jobs need, with gcloud, or print the commands.

cloud_setup  start here: run or print the steps
cloud_steps  each step: look first, then the command
"""
