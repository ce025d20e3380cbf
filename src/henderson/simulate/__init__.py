"""Animal-model data with known truth."""
