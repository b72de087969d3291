"""What every other package uses.

document  read YAML as plain values with their line numbers; the error for a wrong file
"""
