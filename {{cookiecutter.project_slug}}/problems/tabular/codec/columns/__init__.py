"""Columns of CSV files: read, understood and encoded, without TensorFlow.

tables.py    files and their faults, named by line    blocks.py   a file in blocks, on all cores
rows.py      the split, and the rows of each side     sample.py   some rows of all
profiles.py  what a column holds                      meaning.py  row numbers, codes, scales
infer.py     what a column is                         target.py   the task, classes or scale
encode.py    rows to arrays on disk                   hints.py    what --schema settles
identity.py  what distinguishes a file
"""
