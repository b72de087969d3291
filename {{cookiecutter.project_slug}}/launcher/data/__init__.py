"""Raw data comes in, and goes to a bucket; `data.yaml` says where it is.

raw       pull, push and compare data/raw; push a run
drive     read Google Drive; copy a folder of it to a bucket
sources   read data.yaml: the files that it names, with their checksums, wherever they are
"""
