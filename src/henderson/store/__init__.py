"""The chunked, checksummed Zarr store and what is read from it."""
