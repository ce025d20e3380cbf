"""Preconditioned conjugate gradients and direct solves."""
