"""Where an answer comes from; goes with every answer of every released model.

Belongs here: what a caller is told of the model behind a number. Does not belong here: how it is sent or drawn (`ui`).
"""

from pydantic import BaseModel

DISCLAIMER = "Research software. Not a diagnostic device: no clinical decision may rest on this answer."


class Origin(BaseModel):
    """Model, run and data behind an answer: what the server's headers and the page's banner read."""

    model_version: str
    run_id: str | None
    data_version: str
    synthetic: bool
    disclaimer: str = DISCLAIMER

    @property
    def trained_on(self) -> str:
        """What kind of data the model learned from, for people."""
        return "synthetic data" if self.synthetic else "patient data"


class Provenance(Origin):
    """An origin with one number of the model's quality on held-out data, and its interval."""

    metric: str | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None
