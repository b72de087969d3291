"""What starts jobs and reads what they left; never imports the trainer or TensorFlow."""
