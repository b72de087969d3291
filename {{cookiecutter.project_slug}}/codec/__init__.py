"""Raw input to numbers: the one decoder that training and prediction share.

The trainer, the scripts and the launcher import it; it imports none of them, and no TensorFlow.
"""
