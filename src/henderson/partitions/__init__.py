"""Contiguous shares of animals and records, their ghosts, and how these are exchanged."""
