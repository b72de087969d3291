"""CSV files to encoded arrays: types of columns, the split, warnings."""
