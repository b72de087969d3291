"""`project.yaml` and the repo that it stands in.

settings  start here: read and check the file; the repo's root
git       the commit and the difference from it
buckets   gs:// URIs, and where buckets are
sources   files of this repo, and a digest of them
gcp       the APIs and roles that jobs need in Google Cloud
"""
