"""Tables of samples to recordings on disk, without TensorFlow.

tables.py   files of CSV or Parquet in blocks     roles.py    which column is what
rows.py     all samples, recording by recording   encode.py   samples at equal steps
store.py    recordings on disk                    targets.py  the task, labels and numbers
read.py     those of a file, for predictions
"""
