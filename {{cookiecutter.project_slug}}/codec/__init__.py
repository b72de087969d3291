"""Raw input to numbers, and numbers to answers: one way, for training and for predictions.

The trainer, the predictor and the scripts import it; it imports none of them, and no TensorFlow.
"""
