"""Variance components: exact REML and ML on a sparse factor of the mixed model equations."""
