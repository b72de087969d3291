"""From a command line to the packages below. scripts/ calls it.

start  train_local.py: run a job or a study here, and print how it ended
"""
