"""A job file: read it, check it against the API's messages and against the rules that they lack.

spec              start here: `load` a job file, or raise all its faults with their lines
job               what `load` gives: the pools, programs, times and study of a job as attributes
completion        messages made from a job: what is sent, the file of a best trial
shape             the fields, types and enums of the API's messages, from messages.json
scalars           single values: numbers, durations, timestamps
rules             rules of a CustomJobSpec; calls the next three
task_rules        image, arguments and environment of a worker pool
machine_rules     machine, accelerators and disk of a worker pool
place_rules       output directory, account, network, region
study_rules       metrics, parameters and trial counts of a study
trainer_rules     whether the trainer accepts the flags in `args`
machines          the machine types of Vertex AI and their accelerators
program           what a worker pool runs: code of this repo, or another image or package
"""
