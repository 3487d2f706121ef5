"""Models by name: the catalogue, the hub's cache on this machine, and downloads that are right or absent."""
