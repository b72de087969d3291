"""What the files of trainer/ need for recordings."""
