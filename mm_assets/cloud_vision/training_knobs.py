"""Knobs of the split network and its training.

Belongs here: the Config class and what it becomes, and where trainings run. Does not belong here: the numbers
(profiles.py).
"""

from typing import TYPE_CHECKING, Any, Literal

from mm_assets.cloud_vision.profiles import CloudKnobs

if TYPE_CHECKING:
    from mm_assets.cloud_vision.party_steps import SplitKnobs
    from mm_assets.cloud_vision.split_model import SplitConfig
    from resources.settings import Settings

# Whatever MM_DEVICE says: the parties' network has to be the same to the bit as the one trained in one place, and
# networks this small train side by side on cores.
DEVICE = "cpu"


class SplitTrainKnobs(CloudKnobs):
    """The network and its training. Unset: the profile's."""

    seeds: list[int] | None = None
    wire: Literal["http", "in_process"] = "http"  # between two processes, or both parties in this one
    epochs: int | None = None
    batch_size: int | None = None
    org2_learning_rate: float | None = None  # peak, after the warm-up; of the label holder's bottom and the top
    org3_learning_rate: float | None = None  # of the image holder's bottom
    weight_decay: float | None = None
    warmup: float = 0.1  # share of all steps
    encoder: str | None = None  # `compact`, or any timm name with a random start
    stage: int | None = None  # feature stage after which a timm encoder is cut; unset: whole
    channels: int | None = None  # of the compact encoder's first layer
    embedding: int | None = None  # numbers a record that cross, each way
    hidden: int | None = None
    dropout: float | None = None


def split_config(knobs: Any, image_px: int) -> "SplitConfig":
    """knobs: a filled SplitTrainKnobs. Raises SplitConfigError."""
    from mm_assets.cloud_vision.split_model import SplitConfig

    return SplitConfig(
        image_px=image_px, encoder=knobs.encoder, stage=knobs.stage, channels=knobs.channels,
        embedding=knobs.embedding, hidden=knobs.hidden, top_hidden=(knobs.hidden,), dropout=knobs.dropout,
    )  # fmt: skip


def split_knobs(knobs: Any) -> "SplitKnobs":
    """knobs: a filled SplitTrainKnobs. The seed is left to each job."""
    from mm_assets.cloud_vision.party_steps import SplitKnobs

    return SplitKnobs(
        epochs=knobs.epochs, batch_size=knobs.batch_size, org2_learning_rate=knobs.org2_learning_rate,
        org3_learning_rate=knobs.org3_learning_rate, weight_decay=knobs.weight_decay, warmup=knobs.warmup,
    )  # fmt: skip


def workers_of(settings: "Settings") -> dict[str, Any]:
    """Arguments of map_items: processes of one thread, or everything here where there is to be one only."""
    return {"workers": settings.workers, "kind": "process" if settings.workers > 1 else "inline"}
