"""Tables in training: the files that flags name, warnings, the straight line, which columns matter."""
