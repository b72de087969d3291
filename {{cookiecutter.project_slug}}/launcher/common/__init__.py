"""What every other package uses.

files     write a file whole
times     durations and RFC 3339
document  read YAML as plain values with their line numbers; the error for a wrong file
"""
