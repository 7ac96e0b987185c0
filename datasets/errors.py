"""What is wrong with data, said in one sentence."""


class DataError(Exception):
    """The data is missing, damaged or does not fit; the message says which file and what to do."""
