"""The error every command can show as one line.

Belongs here: the base class of errors whose message says how to mend them.
Does not belong here: errors of one module; those subclass this one where they are raised.
"""


class MendableError(Exception):
    """An expected failure: ``str(error)`` is one line that says what is wrong and how to mend it."""

    exit_code: int = 2
