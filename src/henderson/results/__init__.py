"""What a run leaves behind: tables, records and reports."""
