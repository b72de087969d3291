"""A job on Vertex AI: complete it, provide its code, send it, watch it, fetch its results.

submit        start here: from a command line to a job that was sent, once
submission    complete the job file: image or package, folder, account, labels
code          the training image, or the trainer as a Python package: make it if it is missing
vertex        requests to Vertex AI: each is sent once, even where its answer is lost
remote_job    a job as the service describes it, as a table row, as lines
watch         follow a job until it ends; the logs of jobs and endpoints
jobs          the verbs of scripts/jobs.py
study         a cloud study as a local one: leaderboard, study.csv, report
fetch         copy what a job wrote to runs/
storage       copy files to and from buckets
local_files   names, sizes and checksums of local files, many side by side; what must not be written
object_names  which objects of a bucket may become files
clients       the login; send requests; say what to do where one is refused
errors        retries, and errors of Google's libraries as one line
"""
