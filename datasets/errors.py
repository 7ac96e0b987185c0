"""The error for missing or damaged data."""


class DataError(Exception):
    """The data is missing, damaged or does not fit; the message says which file and what to do."""
