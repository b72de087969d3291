"""Answers requests with an exported model: instances in, answers out.

    instances   JSON, JSON lines and CSV, and what is wrong with them
    inputs      what a client may send for this kind of data; a subclass of `instances.JsonInputs`
    model       an exported model: encodes instances, calls its network, words answers
    runtime     runs a network: onnxruntime, else TensorFlow in a process of its own (tensorflow_child)
    explain     what each feature adds to an answer
    predict     what scripts/predict.py takes from here
    batch       all instances of a file, into the files of Vertex AI's batch prediction
    server      the server: routes, limits, access log; started by __main__, `python -m predictor`
    batching    answers all requests that wait by one call of the model
    protocol    HTTP with limits of time and size
    bucket      copies a model from gs://
    metrics     counts, latencies and batch sizes for Prometheus

It imports `codec`, and neither the trainer nor the launcher. Runtimes are imported inside of functions,
so that a bad request is refused in milliseconds.
"""
