"""What every other package uses.

files     write a file whole
times     RFC 3339, and spans of time for people
document  read YAML as plain values with their line numbers; the error for a wrong file
terminal  ask whoever sits there
"""
