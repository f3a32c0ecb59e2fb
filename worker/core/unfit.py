"""What is said of an engine that Carillon cannot work with."""


class UnfitError(Exception):
    """A server, database or role that Carillon cannot work with, and that does not become another by waiting.

    The text is the sentence for a person.
    """
