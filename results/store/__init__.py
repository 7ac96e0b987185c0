"""The results folder: files, locks, records, artifacts."""
