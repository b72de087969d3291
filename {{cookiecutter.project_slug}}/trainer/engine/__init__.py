"""The machinery under `loop.py`: one idea a file. You can train any model without opening it."""
