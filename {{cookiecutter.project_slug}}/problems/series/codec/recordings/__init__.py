"""Tables of samples to recordings on disk, without TensorFlow.

tables.py   files of CSV or Parquet in blocks     cells.py    numbers, dates, texts in columns
roles.py    which column is what                  rows.py     all samples, recording by recording
facts.py    what training recordings decide       targets.py  the task, labels and numbers
encode.py   samples at equal steps                store.py    recordings on disk
read.py     those of a file, for predictions      quotes.py   those that are not closed
"""
