"""What is right and wrong with this machine and this installation, and what to do about it."""
