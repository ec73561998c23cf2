"""Small made-up records of two organisations for tests: the film tells class 0, organisation 2's table class 2."""

import numpy as np

from mm_assets.cloud_vision.ids import ids_digest
from mm_assets.cloud_vision.party_steps import Org2Rows, Org3Rows
from mm_assets.cloud_vision.split_model import SplitConfig, build_org2, build_org3, build_top
from mm_assets.cloud_vision.split_training import Org2Party, Org3Party

PX = 32
CONFIG = SplitConfig(image_px=PX, channels=8, embedding=16, hidden=32, top_hidden=(32,), dropout=0.2)


def two_parties(n, *, seed=0, noise=1.0, px=PX):
    """(Org2Rows, Org3Rows) of n common records, in the order of their ids."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n)
    digest = ids_digest(f"img_{i:05d}" for i in range(n))
    table2 = rng.normal(0, noise, (n, 5)).astype(np.float32)
    table2[:, 0] += np.where(labels == 2, 2.5, 0.0)
    table3 = rng.normal(0, noise, (n, 5)).astype(np.float32)
    table3[:, 0] += np.where(labels == 0, 0.5, 0.0)
    pixels = rng.normal(110, 18, (n, px, px))
    for i in np.flatnonzero(labels == 0):
        row, column = rng.integers(4, px - 10, 2)
        pixels[i, row : row + 7, column : column + 7] += 30
    pixels = pixels.clip(0, 255).astype(np.uint8)
    return Org2Rows(table2, labels, digest), Org3Rows(pixels, table3, digest)


def two_sides(org2, org3, *, config=CONFIG, seed=0, keep_gradients=False):
    """(Org2Party, Org3Party) with first weights of ``seed``."""
    return (
        Org2Party(build_org2(config, seed), build_top(config, seed), org2),
        Org3Party(build_org3(config, seed), org3, keep_gradients=keep_gradients),
    )
