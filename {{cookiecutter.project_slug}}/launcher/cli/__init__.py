"""The verbs: from a command line to the packages below. scripts/ calls them.

train_local  run a job or a study on this machine
start        the same, from parsed arguments to the last line printed
train_cloud  send a job to Vertex AI
baseline     compare a run with simple models
serve        serve a model on this machine
predict      predict with a model, on this machine or by asking a server
batch        predict files with a model, here or on Vertex AI
deploy       serve a model on Vertex AI
endpoints    list, change and remove what serves there
check        check job files
jobs         list, show and cancel cloud jobs; fetch their results
data         raw data comes in, and goes to the bucket
prices       show prices
report       write the page of a run
setup_cloud  create what cloud jobs need
command      what all verbs share: a command line, errors, exit codes
"""
