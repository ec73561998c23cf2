"""The error of a case that cannot be answered as it was sent.

Belongs here: what a caller may be told of it. Does not belong here: the reasons, which each wing subclasses beside its
case, and the statuses of HTTP (`ui/problems.py`).
"""

from resources.errors import MendableError


class UnusableCase(MendableError):
    """``str(error)`` is one sentence for whoever sent the case, without a path; ``code`` is stable, for programs."""

    code: str = "case_unusable"
