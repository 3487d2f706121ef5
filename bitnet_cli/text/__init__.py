"""Text to token ids and back: tokenizer, chat template, streaming, and repairs of known faulty files.

Knows no model and no terminal. Nothing a user types can become a control token unless the caller asks for it.
"""
