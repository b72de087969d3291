"""Raw data comes in, and goes to a bucket; `data.yaml` says where it is.

pull      copy what is new or changed to data/raw; compare it with data/MANIFEST.csv
push      copy new files of data/raw, or a run, to the bucket
drive     read Google Drive; copy a folder of it to a bucket
sources   read data.yaml: the files that it names, with their checksums, wherever they are
copying   work through many files side by side, with a progress bar
"""
