"""A trained model as a service on Vertex AI: upload it, deploy it, ask it, take it down.

deploy    start here: from a run to an address that answers
compare   one prediction there, and the same one here
plan      the messages that are sent, complete
commands  the same as commands, which `--dry-run` prints
files     configs/model.yaml and endpoint.yaml, checked
service   requests to Vertex AI: each is sent once, even where its answer is lost
manage    the verbs of scripts/endpoints.py
cleanup   the last of them: what this project has, and its end
ask       send instances to an endpoint or a server, in requests that are small enough
"""
