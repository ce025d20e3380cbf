"""From CSV and Parquet files to the store, in restartable stages."""
