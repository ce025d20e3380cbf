"""Breeding values from pedigrees of any size: Henderson's mixed model equations, prepared, set up and solved out of core."""

__version__ = "0.1.0"
