"""Checkpoints of Hugging Face repositories into GGUF files, one tensor at a time and without torch."""
