"""`bitnet`: ternary language models on ordinary CPUs."""
