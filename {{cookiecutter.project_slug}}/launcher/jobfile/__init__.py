"""A job file: read it, check it against the API's messages and against the rules that they lack.

spec           start here: `load` a job file, or raise all its faults with their lines
job            what `load` gives: the pools and times of a job as attributes
program        what a worker pool runs: code of this repo, or another image or package; its rules
machines       the machine types of Vertex AI, from machines.json; the rules for them
study          what a study varies and looks for; the rules for it
rules          which rule is for which message; the rules for a job as a whole
trainer_rules  whether the trainer accepts the flags in `args`
schema         the fields, types and enums of the API's messages, from messages.json; single values
completion     messages made from a job: what is sent, the file of a best trial
"""
