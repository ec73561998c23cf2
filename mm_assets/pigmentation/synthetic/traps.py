"""Rows and files that a careless pipeline gets wrong, each planted in a patient of its own.

Belongs here: what is spoilt or made awkward, and the outcome that a correct pipeline must reach. Does not belong here:
the rules that a pipeline follows.

Expected outcomes: `record` (nothing is lost), `record_without:<modality>`, `quarantined:<reason>` (of the capture
named; its record is then gone), `not_trained` (a record without a label).
"""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Row = dict[str, Any]  # of the manifest
# Changes files below the folder and the rows of one record (clinical, dermoscopy, multispectral) in place; returns the
# captures that the outcome is about, and the outcome.
_Trap = Callable[[Path, list[Row]], tuple[list[str], str]]

_EXIF_ORIENTATION = 0x0112


def plant_traps(folder: Path, records: list[list[Row]]) -> tuple[list[Row], list[Row]]:
    """Spoil the records, one trap each in the order of TRAPS.

    Returns the rows of the manifest that are left or added, and the list of traps: capture_id, lesion_id, kind,
    expected.
    """
    rows, planted = [], []
    for trap, record in zip(TRAPS, records, strict=True):
        lesion_id = record[0]["lesion_id"]
        captures, expected = trap(folder, record)
        rows += record
        for capture_id in captures:
            planted.append(
                {"capture_id": capture_id, "lesion_id": lesion_id, "kind": trap.__name__, "expected": expected}
            )
    return rows, planted


def text_for_an_image(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A clinical .jpg that holds the page of an error."""
    (folder / record[0]["path"]).write_bytes(b"<html><body>503 Service Unavailable</body></html>\n" * 40)
    return [record[0]["capture_id"]], "quarantined:image_format_unsupported"


def truncated_jpeg(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """Two thirds of a clinical JPEG."""
    path = folder / record[0]["path"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return [record[0]["capture_id"]], "quarantined:image_truncated"


def empty_file(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A clinical file of no bytes."""
    (folder / record[0]["path"]).write_bytes(b"")
    return [record[0]["capture_id"]], "quarantined:image_empty"


def missing_file(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A row whose clinical file is not there."""
    (folder / record[0]["path"]).unlink()
    return [record[0]["capture_id"]], "quarantined:image_missing"


def one_pixel(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A clinical image of 1 x 1 pixel."""
    _replace(folder, record[0], ".png", _file(Image.new("RGB", (1, 1), (200, 160, 140)), "PNG"))
    return [record[0]["capture_id"]], "quarantined:image_too_small"


def thirty_thousand_pixels(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A clinical PNG whose header says 30,000 x 30,000."""
    _replace(folder, record[0], ".png", _png(30_000, 30_000, bits=8, lines=bytes(64)))
    return [record[0]["capture_id"]], "quarantined:image_too_large"


def damaged_dermoscopy(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """Half of a dermoscopic JPEG: the record goes on without it."""
    path = folder / record[1]["path"]
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return [record[1]["capture_id"]], "record_without:dermoscopy"


def sixteen_bit_png(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A clinical PNG of 16 bits a channel."""
    pixels = _pixels(folder, record[0]).astype(">u2") * 257
    lines = b"".join(b"\0" + line.tobytes() for line in pixels)
    _replace(folder, record[0], ".png", _png(pixels.shape[1], pixels.shape[0], bits=16, lines=lines))
    return [record[0]["capture_id"]], "record"


def transparent_png(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A clinical PNG with an alpha channel."""
    image = Image.fromarray(_pixels(folder, record[0])).convert("RGBA")
    _replace(folder, record[0], ".png", _file(image, "PNG"))
    return [record[0]["capture_id"]], "record"


def bitmap(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A dermoscopic BMP."""
    _replace(folder, record[1], ".bmp", _file(Image.fromarray(_pixels(folder, record[1])), "BMP"))
    return [record[1]["capture_id"]], "record"


def grey_jpeg(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A dermoscopic JPEG of one channel, named .JPEG."""
    image = Image.fromarray(_pixels(folder, record[1])).convert("L")
    _replace(folder, record[1], ".JPEG", _file(image, "JPEG"))
    return [record[1]["capture_id"]], "record"


def lying_phone(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A clinical JPEG to be turned by its EXIF orientation."""
    image = Image.fromarray(np.ascontiguousarray(np.rot90(_pixels(folder, record[0]))))
    exif = Image.Exif()
    exif[_EXIF_ORIENTATION] = 6
    _replace(folder, record[0], ".jpg", _file(image, "JPEG", exif=exif))
    return [record[0]["capture_id"]], "record"


def half_the_bands(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A cube that ends in the middle of the spectrum."""
    cube, wavelengths = _cube(folder, record[2])
    kept = max(1, len(wavelengths) // 2)
    np.savez(folder / record[2]["path"], cube=cube[..., :kept], wavelengths_nm=wavelengths[:kept])
    return [record[2]["capture_id"]], "record_without:multispectral"


def bands_without_names(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A cube without its wavelengths."""
    cube, _ = _cube(folder, record[2])
    np.savez(folder / record[2]["path"], cube=cube)
    return [record[2]["capture_id"]], "record_without:multispectral"


def only_dermoscopy(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A lesion without a clinical image."""
    for row in (record[0], record[2]):
        (folder / row["path"]).unlink()
    record[:] = [record[1]]
    return [record[0]["capture_id"]], "quarantined:no_clinical_image"


def capture_named_twice(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """Two clinical images under one name."""
    first = folder / record[0]["path"]
    again = record[0] | {"path": record[0]["path"].replace(".jpg", "-again.jpg")}
    (folder / again["path"]).write_bytes(first.read_bytes())
    record.append(again)
    return [record[0]["capture_id"]], "quarantined:duplicate_capture_id"


def lesion_of_two_patients(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """The captures of a lesion are under two patients."""
    record[1]["patient_id"] = f"{record[1]['patient_id']}x"
    return [row["capture_id"] for row in record], "quarantined:patient_of_lesion_differs"


def two_labels(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """The captures of a record carry two labels."""
    label = record[0]["label"]
    record[1]["label"] = label + 0.2 if label < 0.5 else label - 0.2
    return [row["capture_id"] for row in record], "quarantined:conflicting_labels"


def label_beyond_one(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A label on another scale."""
    for row in record:
        row["label"] = 17.0
    return [row["capture_id"] for row in record], "quarantined:label_out_of_range"


def label_of_nobody(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A label that does not say where it comes from."""
    for row in record:
        row["label_source"] = None
    return [row["capture_id"] for row in record], "quarantined:label_without_source"


def label_of_a_stranger(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A label from a source that is not known."""
    for row in record:
        row["label_source"] = "guess"
    return [row["capture_id"] for row in record], "quarantined:unknown_label_source"


def no_label(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A record that nobody has rated: it can be predicted, not trained on."""
    for row in record:
        row["label"] = row["label_source"] = None
    return [record[0]["capture_id"]], "not_trained"


def path_that_climbs_out(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A path that leaves the source's root."""
    (folder / record[0]["path"]).unlink()
    record[0]["path"] = "../outside.jpg"
    return [record[0]["capture_id"]], "quarantined:path_outside_root"


def unknown_instrument(folder: Path, record: list[Row]) -> tuple[list[str], str]:
    """A dermoscopic image listed as ultrasound: its row is quarantined, the record goes on."""
    record[1]["modality"] = "ultrasound"
    return [record[1]["capture_id"]], "record_without:dermoscopy"


TRAPS: tuple[_Trap, ...] = (
    text_for_an_image, truncated_jpeg, empty_file, missing_file, one_pixel, thirty_thousand_pixels,
    damaged_dermoscopy, sixteen_bit_png, transparent_png, bitmap, grey_jpeg, lying_phone, half_the_bands,
    bands_without_names, only_dermoscopy, capture_named_twice, lesion_of_two_patients, two_labels, label_beyond_one,
    label_of_nobody, label_of_a_stranger, no_label, path_that_climbs_out, unknown_instrument,
)  # fmt: skip


def _pixels(folder: Path, row: Row) -> np.ndarray:
    with Image.open(folder / row["path"]) as image:
        return np.array(image)


def _cube(folder: Path, row: Row) -> tuple[np.ndarray, np.ndarray]:
    with np.load(folder / row["path"], allow_pickle=False) as arrays:
        return arrays["cube"], arrays["wavelengths_nm"]


def _replace(folder: Path, row: Row, suffix: str, data: bytes) -> None:
    """Put another file in the place of a row's."""
    path = folder / row["path"]
    path.unlink()
    path = path.with_suffix(suffix)
    path.write_bytes(data)
    row["path"] = path.relative_to(folder).as_posix()


def _file(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=kind, **options)
    return buffer.getvalue()


def _png(width: int, height: int, bits: int, lines: bytes) -> bytes:
    """An RGB PNG by hand: Pillow writes no colour of 16 bits, and no header that lies."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
