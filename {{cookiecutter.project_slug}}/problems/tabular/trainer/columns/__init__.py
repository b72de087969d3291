"""Reads CSV files: types of columns, encoded arrays, warnings."""
