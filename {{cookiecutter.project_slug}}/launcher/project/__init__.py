"""`project.yaml`: the project and its cloud settings.

settings  read and check the file
git       the commit and the difference from it
sources   files of this repo, and a digest of them
gcp       its `gcp` part, and the roles that jobs need
"""
