"""Answers requests with an exported model: instances in, answers out.

    instances   JSON, JSON lines and CSV, and what is wrong with them
    inputs      what a client may send for this kind of data; a subclass of `instances.JsonInputs`
    model       loads an exported model, calls it

It imports `codec`, and neither the trainer nor the launcher. TensorFlow is imported inside of
functions, so that a bad request is refused in milliseconds.
"""
