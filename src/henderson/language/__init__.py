"""From parameter files to one frozen ModelSpec."""
