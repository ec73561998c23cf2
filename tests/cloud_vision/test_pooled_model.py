"""The pooled model: frozen features of films, and that it learns from train alone."""

from dataclasses import replace

import numpy as np
import pytest

from mm_assets.cloud_vision import pooled_model
from mm_assets.cloud_vision.pooled_model import FIELDS, SCALES, film_structure, pooled_answers
from mm_assets.cloud_vision.row_files import CommonRows
from tests.cloud_vision.split_data import two_parties

N = 240
SPLIT = np.array(["train"] * 150 + ["validate"] * 30 + ["test"] * 60)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    monkeypatch.setattr(pooled_model, "ROUNDS", 25)


@pytest.fixture
def rows():
    org2, org3 = two_parties(N)
    return CommonRows(org2, org3, np.array([f"img_{k:05d}" for k in range(N)]), SPLIT)


def test_it_learns_from_all_columns(rows):
    found = pooled_answers(rows)
    assert set(found) == {"validate", "test"}  # nobody is in the shifted set
    labels = rows.org2.labels[rows.places["test"]]
    assert found["test"].dtype == np.float32
    assert (found["test"].argmax(1) == labels).mean() > 0.6
    assert np.exp(found["test"]).sum(1) == pytest.approx(1.0, abs=1e-4)


def test_held_out_labels_change_nothing(rows):
    labels = np.where(SPLIT == "train", rows.org2.labels, 0)
    other = pooled_answers(replace(rows, org2=replace(rows.org2, labels=labels)))
    assert all((other[name] == found).all() for name, found in pooled_answers(rows).items())


@pytest.mark.parametrize("side", [32, 37, 64])
def test_structure_is_found_where_it_is(side):
    films = np.full((2, side, side), 100, np.uint8)
    films[1, : side // FIELDS, : side // FIELDS] += (
        np.random.default_rng(0).integers(0, 90, (side // FIELDS, side // FIELDS)).astype(np.uint8)
    )
    found = film_structure(films).reshape(2, len(SCALES) + 1, FIELDS, FIELDS)
    finest = found[1, 0] - found[0, 0]
    assert np.unravel_index(finest.argmax(), finest.shape) == (0, 0)
    assert finest[4:, 4:].max() == pytest.approx(0, abs=1e-3)
