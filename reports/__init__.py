"""How it is shown: figures, tables, the PDF. Reads `results` alone and imports no torch."""
