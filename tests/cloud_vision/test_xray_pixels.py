"""What the network reads of an X-ray."""

import numpy as np
import pytest

from mm_assets.cloud_vision.xray_pixels import xray_pixels
from mm_assets.records.images import encode_jpeg
from mm_assets.records.unreadable import UnreadableImage


@pytest.mark.parametrize("side", [64, 512, 320])
def test_each_pixel_is_the_mean_of_its_area(side):
    rows, columns = np.mgrid[:side, :side] / side
    film = (60 + 120 * rows * columns).astype(np.uint8)
    found = xray_pixels(encode_jpeg(film), 32)
    assert (found.shape, found.dtype) == ((32, 32), np.uint8)
    means = [[part.mean() for part in np.array_split(band, 32, 1)] for band in np.array_split(film, 32, 0)]
    assert np.abs(found - np.array(means)).max() < 2.5


def test_a_fine_grid_does_not_alias():
    grid = np.indices((512, 512)).sum(0) % 2 * 200
    assert np.ptp(xray_pixels(encode_jpeg(grid.astype(np.uint8)), 48)) <= 4


def test_a_file_that_is_no_picture_is_told():
    with pytest.raises(UnreadableImage):
        xray_pixels(b"no picture", 32)
