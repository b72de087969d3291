"""A job on Vertex AI: complete it, provide its code, send it, watch it, fetch its results.

submit        start here: from a command line to a job that was sent
submission    complete the job file: image or package, folder, account, labels
registry      the training image: build and push it if it is missing
package       the trainer as a Python package
labels        legal labels
strays        find local paths among a job's flags
pending       remember a job while its fate is unknown, so that it is never sent twice
vertex        send, list, find and cancel jobs
remote_job    a job as the service describes it
watch         follow a job until it ends
logs          read its output from Cloud Logging
jobs          the verbs of scripts/jobs.py
facts         a job as a table row, as lines, as JSON
study         a cloud study as a local one: leaderboard, study.csv, report
fetch         copy what a job wrote to runs/
storage       copy files to and from buckets
object_names  which objects of a bucket may become files
clients       Google's clients: retries, and errors as one line
identity      which account is logged in, and the commands to log in
"""
