"""Files as arrays: GGUF and safetensors containers, and the codecs of their tensor types.

Nothing here knows a model, a kernel or a terminal. No number read from a file is believed before it was
checked against the size of the file; everything wrong is a FormatError that names the place.
"""
