"""What is missing here and in the cloud, and the command that fixes it.

`doctor`, `checkup` and `local` run on Python 3.8 without any package.

    doctor       start here: run the checks and print them
    checkup      run checks side by side, each with a time limit
    local        Python, packages, disk, GPU, git, Docker
    cloud        project, APIs, bucket, images, accounts
    quota        quota for the machines in configs/
    access       the login, and requests to Google's APIs
"""
