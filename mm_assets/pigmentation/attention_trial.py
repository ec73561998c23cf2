"""The deletion curves of a trained fusion model: hide parts of its pictures and read the score again.

Belongs here: putting a model and its pictures behind the callable that deletion.py asks for. Does not belong here: the
order of deletion and what the curves say (deletion.py), and reading records.
"""

from functools import partial

import numpy as np
import numpy.typing as npt
import torch  # noqa: TID253

from mm_assets.learning.metrics import Array, BoolArray, MetricInputError
from mm_assets.pigmentation.deletion import DeletionCurves, deletion_curves, hide_cells
from mm_assets.pigmentation.model import SCORE, Batch, FusionModel

# Maskings read in one pass: bounds memory with a large encoder.
BATCH = 66


def attention_trial(model: FusionModel, batch: Batch, patients: npt.ArrayLike, *, seed: int = 0) -> DeletionCurves:
    """Curves of the N records of ``batch`` ({modality: float [N, C, S, S], "present": bool [N, M]}).

    The model answers where the batch lies (CPU or GPU) and in evaluation mode. Raises MetricInputError for a variant
    whose attention has no places, and for one that predicts classes.
    """
    names = model.config.names
    if model.config.variant != "fused" or model.config.head != "regression":
        raise MetricInputError(
            f"'{model.config.variant}' with a {model.config.head} head has no map of attention to one score; "
            "try the fused regression"
        )
    model.eval()
    with torch.inference_mode():
        attention = model.fuse(model.encode(batch), batch["present"]).attention
        maps = torch.stack([model.attention_maps(attention)[name] for name in names], dim=1).float().cpu().numpy()
    return map_trial(model, batch, maps, patients, seed=seed)


def map_trial(
    model: FusionModel, batch: Batch, maps: npt.ArrayLike, patients: npt.ArrayLike, *, seed: int = 0
) -> DeletionCurves:
    """The same for ``maps`` [N, M, rows, columns] from anywhere: what truth or chance would gain is the yardstick."""
    records = [
        (partial(_scores, model, {name: value[k] for name, value in batch.items()}), one, here)
        for k, (one, here) in enumerate(zip(np.asarray(maps), batch["present"].cpu().numpy(), strict=True))
    ]
    return deletion_curves(records, patients, seed=seed)


def _scores(model: FusionModel, record: Batch, hidden: BoolArray) -> Array:
    """Scores [K] of one record with ``hidden`` [K, M, rows, columns] of its pictures replaced."""
    return np.concatenate([_pass(model, record, hidden[k : k + BATCH]) for k in range(0, len(hidden), BATCH)])


@torch.inference_mode()
def _pass(model: FusionModel, record: Batch, hidden: BoolArray) -> Array:
    present = record["present"]
    batch = {"present": present.expand(len(hidden), -1)}
    for i, name in enumerate(model.config.names):
        picture = record[name]
        if present[i]:
            masked = torch.from_numpy(hide_cells(picture.float().cpu().numpy(), hidden[:, i])).to(picture.device)
        else:
            masked = picture.float().expand(len(hidden), *picture.shape)
        batch[name] = masked
    return model(batch)[:, SCORE].double().cpu().numpy()
