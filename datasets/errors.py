"""The error for missing or damaged data."""


class DataError(Exception):
    """The data is missing, damaged or unsuitable; the message names the file and says what to do."""
