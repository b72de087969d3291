"""What starts jobs and reads what they left; never imports the trainer or TensorFlow.

Packages, bottom up: each imports only those above it in this list.

    common   project files and job files as text with line numbers
    project  project.yaml
    jobfile  a job file, checked
    local    a job on this machine
    report   a run as a page
    study    a tuning study on this machine
    cost     what a job costs
    cloud    a job on Vertex AI
    endpoints  a model as a service there
    doctor   what is missing
    setup    create it
    cli      the command lines
"""
