"""The student's side of the course: run the visible tests, make the file to hand in."""
