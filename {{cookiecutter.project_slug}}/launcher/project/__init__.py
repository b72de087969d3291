"""`project.yaml`: the project and its cloud settings.

settings  read and check the file
gcp       its `gcp` part, and the roles that jobs need
"""
