"""The report as one HTML file: a sortable table, and curves whose points tell where they come from."""
