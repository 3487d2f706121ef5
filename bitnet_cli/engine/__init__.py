"""Token ids in, token ids out; knows no terminal and no file format but GGUF's tensors."""
