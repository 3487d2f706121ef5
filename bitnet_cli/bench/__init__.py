"""The instrument: how fast a model runs on this machine, what of the machine's limits that is, and what changed."""
