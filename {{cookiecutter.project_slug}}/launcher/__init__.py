"""Start jobs and read what they left, without TensorFlow; README.md lists the packages."""
