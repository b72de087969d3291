"""Answers requests with an exported model: instances in, answers out.

It imports `codec`, and neither the trainer nor the launcher. TensorFlow is imported inside of
functions, so that a bad request is refused in milliseconds.
"""
