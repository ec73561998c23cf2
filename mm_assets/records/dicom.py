"""One grey film out of a DICOM file.

Belongs here: which DICOM files are accepted and how their stored values become 8-bit grey.
Does not belong here: resizing (`images.py`) and any DICOM tag but those that describe the pixels.
"""

import io
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mm_assets.records.intensity import equalize_hist, min_max_to_uint8
from mm_assets.records.unreadable import UnreadableImage

if TYPE_CHECKING:
    from pydicom.dataset import Dataset

# What pydicom decodes with numpy and Pillow alone. JPEG lossless, JPEG-LS and 12-bit JPEG need codecs
# that are not among the project's dependencies.
ACCEPTED_TRANSFER_SYNTAXES: dict[str, str] = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2.1.99": "Deflated Explicit VR Little Endian",
    "1.2.840.10008.1.2.5": "RLE Lossless",
    "1.2.840.10008.1.2.4.50": "JPEG Baseline (8 bit)",
    "1.2.840.10008.1.2.4.90": "JPEG 2000 Lossless",
    "1.2.840.10008.1.2.4.91": "JPEG 2000",
}
_DEFLATED = "1.2.840.10008.1.2.1.99"
_COLOUR = frozenset({"RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"})
_MONOCHROME = frozenset({"MONOCHROME1", "MONOCHROME2"})
# Everything in a film's file that is not its pixels: tags, overlays, look-up tables.
_INFLATED_HEADER_BYTES = 16 << 20


@dataclass(frozen=True, eq=False)
class DicomFilm:
    """Grey values (uint8, [H, W], dark air and bright bone) and the bits each stored value had."""

    pixels: np.ndarray
    bits: int


def is_dicom(data: bytes) -> bool:
    """True for a DICOM file with its preamble (part 10 of the standard); raw data sets are not accepted."""
    return data[128:132] == b"DICM"


def decode_dicom(data: bytes, *, max_pixels: int, equalize: bool) -> DicomFilm:
    """The film as MIMIC-CXR-JPG was made from DICOM: min-max to 0-255, MONOCHROME1 inverted, equalised.

    Stored values are rescaled before min-max; VOI windows are not applied, as in the JPG release.
    Colour (a film saved as secondary capture) becomes luminance.
    Raises UnreadableImage: `image_format_unsupported` for a transfer syntax outside
    `ACCEPTED_TRANSFER_SYNTAXES`, several frames or a palette; `image_too_large`, `image_truncated` and
    `image_unreadable` as their names say.
    """
    import pydicom

    _refuse_inflate_bomb(data, max_pixels)
    try:
        dataset = pydicom.dcmread(io.BytesIO(data))
    except EOFError as error:
        raise UnreadableImage("image_truncated", "the DICOM file ends within its header") from error
    except Exception as error:  # pydicom raises whatever the damage leads to
        raise UnreadableImage("image_unreadable", f"DICOM header: {type(error).__name__}") from error
    _refuse_unsupported(dataset, max_pixels)
    return _grey_film(dataset, equalize=equalize)


def _refuse_inflate_bomb(data: bytes, max_pixels: int) -> None:
    """Refuse a deflated file that grows beyond any film: pydicom inflates it whole before it looks at it."""
    # The file meta group starts at 132 with its own length (tag, VR and size take 8 bytes, the value 4).
    dataset_start = 144 + int.from_bytes(data[140:144], "little")
    meta = data[132:dataset_start]
    if _DEFLATED.encode() not in meta:
        return
    limit = 4 * max_pixels + _INFLATED_HEADER_BYTES
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflater.decompress(data[dataset_start:], limit)
    except zlib.error as error:
        raise UnreadableImage("image_unreadable", "the deflated DICOM data is damaged") from error
    if inflater.unconsumed_tail:
        raise UnreadableImage("image_too_large", f"the DICOM file inflates to more than {limit:,} bytes")
    if not inflater.eof:
        raise UnreadableImage("image_truncated", "the deflated DICOM data ends too early")


def _refuse_unsupported(dataset: "Dataset", max_pixels: int) -> None:
    syntax = str(getattr(getattr(dataset, "file_meta", None), "TransferSyntaxUID", "missing"))
    if syntax not in ACCEPTED_TRANSFER_SYNTAXES:
        raise UnreadableImage("image_format_unsupported", f"DICOM transfer syntax {syntax} is not accepted")
    try:
        rows, columns = int(dataset.Rows), int(dataset.Columns)
        frames = int(dataset.get("NumberOfFrames") or 1)
        photometric = str(dataset.PhotometricInterpretation)
    except (AttributeError, TypeError, ValueError) as error:
        raise UnreadableImage("image_unreadable", "the DICOM file does not describe an image") from error
    if frames != 1:
        raise UnreadableImage("image_format_unsupported", f"multi-frame DICOM ({frames} frames)")
    if photometric not in _MONOCHROME | _COLOUR:
        raise UnreadableImage("image_format_unsupported", f"DICOM colour model {photometric[:16]!r}")
    if rows * columns > max_pixels:
        raise UnreadableImage("image_too_large", f"{columns} x {rows} pixels, more than {max_pixels:,}")
    if "PixelData" not in dataset:
        raise UnreadableImage("image_truncated", "the DICOM file has no pixel data")


def _grey_film(dataset: "Dataset", *, equalize: bool) -> DicomFilm:
    from PIL import Image
    from pydicom.pixels import apply_modality_lut, pixel_array

    try:
        stored = pixel_array(dataset)  # colour arrives as RGB whatever its encoding
        if str(dataset.PhotometricInterpretation) in _COLOUR:
            stored = np.asarray(Image.fromarray(stored).convert("L"))
        elif dataset.get("ModalityLUTSequence"):
            stored = apply_modality_lut(stored, dataset)
        pixels = min_max_to_uint8(stored)
        slope = float(dataset.get("RescaleSlope") or 1)
    except Exception as error:  # pydicom and its plugins raise whatever the damage leads to
        message = str(error)
        short = "number of bytes" in message or "less than expected" in message or "truncated" in message
        reason = "image_truncated" if short else "image_unreadable"
        raise UnreadableImage(reason, f"the DICOM pixel data cannot be decoded ({message[:160]})") from error
    # A linear rescale does not change a min-max stretched image, save that a negative slope mirrors it.
    if (str(dataset.PhotometricInterpretation) == "MONOCHROME1") != (slope < 0):
        pixels = 255 - pixels
    bits = int(dataset.get("BitsStored") or dataset.BitsAllocated)
    return DicomFilm(pixels=equalize_hist(pixels) if equalize else pixels, bits=bits)
