"""The figures, drawn with matplotlib and seaborn from tidy tables."""
