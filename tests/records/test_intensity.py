import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mm_assets.records.intensity import equalize_hist, min_max_to_uint8


def equalized_by_formula(pixels: np.ndarray) -> np.ndarray:
    """OpenCV's loop, written out: the cumulated count after the darkest bin, times 255 over the rest."""
    histogram = [int((pixels == grey).sum()) for grey in range(256)]
    darkest = next(grey for grey in range(256) if histogram[grey])
    if histogram[darkest] == pixels.size:
        return np.full_like(pixels, darkest)
    scale = np.float32(255) / np.float32(pixels.size - histogram[darkest])
    table, total = [0] * 256, 0
    for grey in range(darkest + 1, 256):
        total += histogram[grey]
        table[grey] = min(255, int(np.rint(np.float32(total) * scale)))
    return np.array(table, dtype=np.uint8)[pixels]


@settings(max_examples=50, deadline=None)
@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)))
def test_equalize_hist_follows_the_formula(pixels: np.ndarray) -> None:
    assert np.array_equal(equalize_hist(pixels), equalized_by_formula(pixels))


def test_equalize_hist_of_a_known_image() -> None:
    # What cv2.equalizeHist 5.0 returns for these values.
    assert equalize_hist(np.array([[10, 10, 20, 30], [30, 30, 40, 200]], np.uint8)).tolist() == [
        [0, 0, 42, 170],
        [170, 170, 212, 255],
    ]


@settings(max_examples=50, deadline=None)
@given(
    st.sampled_from([np.uint8, np.uint16, np.int16, np.int32]).flatmap(
        lambda kind: hnp.arrays(kind, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8))
    )
)
def test_min_max_spans_0_to_255_and_keeps_order(values: np.ndarray) -> None:
    scaled = min_max_to_uint8(values)
    order = np.argsort(values, axis=None)
    assert (np.diff(scaled.reshape(-1)[order].astype(int)) >= 0).all()
    assert scaled.min() == 0 and scaled.max() == (0 if values.min() == values.max() else 255)


def test_a_value_that_is_not_finite_is_refused() -> None:
    with pytest.raises(ValueError, match="finite"):
        min_max_to_uint8(np.array([[0.0, np.nan]]))
