"""The teacher's side of the course; a release leaves this folder out.

markers   strip solutions and hidden tests from files
release   prove a release, and add it to the students' repo
collect   gather submissions
sandbox   run a command that may be hostile
inside    what runs in there: tests, training, predictions
grade     points for each submission
publish   grades.csv, feedback, leaderboard
"""
