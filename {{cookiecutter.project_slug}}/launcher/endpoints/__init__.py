"""A trained model as a service on Vertex AI: upload it, deploy it, ask it, take it down.

deploy    start here: from a run to an address that answers
compare   one prediction there, and the same one here
plan      the messages that are sent, complete
commands  the same as commands, which `--dry-run` prints
files     configs/model.yaml, endpoint.yaml and batch.yaml, checked
manage    the verbs of scripts/endpoints.py; what is on an endpoint, and how it is taken off
cleanup   the last of them: what this project has, and its end
ask       find an endpoint; send instances to an endpoint or a server, in requests that are small enough
batch     predictions for all instances of a file: on this machine, or
batch_job  by a job on Vertex AI: its instances, its model, its request, its end
"""
