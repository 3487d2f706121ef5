"""The instrument behind `bitnet bench`: what to measure, on what, against which limits, and how to say it."""
