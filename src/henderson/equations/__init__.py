"""Henderson's mixed model equations: design, operator, rank, assembly."""
