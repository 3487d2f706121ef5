"""Checks of a finished model file: by itself, against what it was made from, and against another file."""
