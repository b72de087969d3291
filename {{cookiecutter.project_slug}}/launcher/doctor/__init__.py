"""What is missing here and in the cloud, and the command that fixes it.

`doctor`, `checkup`, `doctor_local` and `environment` run on Python 3.8 without any package.

    doctor        start here: run the checks and print them
    checkup       run checks side by side, each with a time limit
    doctor_local  Python, packages, disk, GPU, git, Docker
    environment   what setup.py requires, and what is installed
    doctor_cloud  project, APIs, bucket, images, accounts
    doctor_login  login and access token
    doctor_quota  quota for the machines in configs/
    google_api    read Google's APIs over HTTPS, with the standard library
"""
