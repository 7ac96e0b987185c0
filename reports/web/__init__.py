"""The report as one HTML file: a sortable table, and curves whose points show their run and settings."""
