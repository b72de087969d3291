"""Writes and reads shards of images; augments them; explains predictions."""
