import io
from pathlib import Path

import numpy as np
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    RLELossless,
)

from mm_assets.records.dicom import ACCEPTED_TRANSFER_SYNTAXES, decode_dicom
from mm_assets.records.images import encode_jpeg
from mm_assets.records.unreadable import UnreadableImage

RAMP = np.arange(24 * 16, dtype=np.uint16).reshape(24, 16) * 7 + 100
GREY = np.rint((RAMP.astype(float) - 100) * 255 / (RAMP.max() - 100)).astype(np.uint8)


def dicom_file(values: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **tags: object) -> bytes:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.1")
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = UID("1.2.3.4")
    dataset.Rows, dataset.Columns = values.shape[:2]
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 8 * values.itemsize
    dataset.HighBit, dataset.PixelRepresentation = dataset.BitsStored - 1, int(values.dtype.kind == "i")
    if syntax == JPEGBaseline8Bit:
        dataset.PixelData = encapsulate([encode_jpeg(values, 100)])
        dataset["PixelData"].VR = "OB"
    elif syntax == RLELossless:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.PixelData = values.tobytes()
        dataset["PixelData"].VR = "OW"
        dataset.compress(RLELossless)
    else:
        dataset.PixelData = values.tobytes()
        dataset["PixelData"].VR = "OW"
    for name, value in tags.items():
        setattr(dataset, name, value)
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def decoded(data: bytes, equalize: bool = False) -> np.ndarray:
    return decode_dicom(data, max_pixels=10_000_000, equalize=equalize).pixels


def reason(data: bytes, max_pixels: int = 10_000_000) -> str:
    with pytest.raises(UnreadableImage) as caught:
        decode_dicom(data, max_pixels=max_pixels, equalize=False)
    return caught.value.reason_code


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless]
)
def test_lossless_syntaxes_give_the_stored_values_stretched(syntax: UID) -> None:
    assert str(syntax) in ACCEPTED_TRANSFER_SYNTAXES
    assert np.array_equal(decoded(dicom_file(RAMP, syntax)), GREY)


def test_jpeg_baseline() -> None:
    assert np.abs(decoded(dicom_file(GREY, JPEGBaseline8Bit)).astype(int) - GREY).max() <= 3


def test_monochrome1_is_inverted() -> None:
    assert np.array_equal(decoded(dicom_file(RAMP, PhotometricInterpretation="MONOCHROME1")), 255 - GREY)


def test_rescale_changes_nothing_unless_its_slope_is_negative() -> None:
    up = dicom_file(RAMP, RescaleSlope="2.5", RescaleIntercept="-1024")
    down = dicom_file(RAMP, RescaleSlope="-1", RescaleIntercept="4095")
    both = dicom_file(RAMP, RescaleSlope="-1", RescaleIntercept="0", PhotometricInterpretation="MONOCHROME1")
    assert np.array_equal(decoded(up), GREY)
    assert np.array_equal(decoded(down), 255 - GREY)
    assert np.array_equal(decoded(both), GREY)


def test_signed_values() -> None:
    assert np.array_equal(decoded(dicom_file(RAMP.astype(np.int16) - 1000)), GREY)


def test_equalisation_spreads_a_skewed_film() -> None:
    skewed = (np.arange(64 * 64) ** 2 // 400).astype(np.uint16).reshape(64, 64)
    assert decoded(dicom_file(skewed)).mean() < 90
    assert decoded(dicom_file(skewed), equalize=True).mean() == pytest.approx(127.5, abs=6)


def test_bits_are_those_stored() -> None:
    film = decode_dicom(dicom_file(RAMP, BitsStored=12, HighBit=11), max_pixels=1000, equalize=False)
    assert film.bits == 12


def test_what_is_not_one_grey_film_is_refused() -> None:
    several = np.repeat(RAMP[None], 3, axis=0)
    many = dicom_file(several.reshape(72, 16), Rows=24, NumberOfFrames=3)
    assert reason(many) == "image_format_unsupported"
    assert reason(dicom_file(RAMP, PhotometricInterpretation="PALETTE COLOR")) == "image_format_unsupported"
    lossless_jpeg = get_testdata_file("JPEG-LL.dcm", download=False)
    assert reason(Path(str(lossless_jpeg)).read_bytes()) == "image_format_unsupported"


def test_damaged_and_oversized_files_say_why() -> None:
    whole = dicom_file(RAMP)
    assert reason(whole[:-200]) == "image_truncated"
    assert reason(whole[:300]) in ("image_truncated", "image_unreadable", "image_format_unsupported")
    assert reason(dicom_file(RAMP, Rows=60_000, Columns=60_000)) == "image_too_large"
    deflated = dicom_file(RAMP, DeflatedExplicitVRLittleEndian)
    assert reason(deflated[:-60]) == "image_truncated"


def test_a_deflate_bomb_is_refused_before_it_is_inflated() -> None:
    bomb = dicom_file(np.zeros((5000, 5000), np.uint16), DeflatedExplicitVRLittleEndian)
    assert len(bomb) < 200_000
    assert reason(bomb, max_pixels=100_000) == "image_too_large"
