"""A conversation with a model: turns, the context they share, transcripts. Knows no terminal."""
