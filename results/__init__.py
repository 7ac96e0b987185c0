"""What came out: records, the store, curves, statistics, tables. Imports no torch."""
