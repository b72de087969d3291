"""What is missing here and in the cloud, and the command that fixes it.

`doctor`, `checkup` and `local` run on a Python without any package.

    doctor       start here: run the checks and print them; do the first day's steps
    checkup      run checks side by side, each with a time limit
    local        Python, packages, disk, GPU, git, Docker, project.yaml
    cloud        login, project, APIs, bucket, images, service account
    quota        quota for the machines in configs/
"""
