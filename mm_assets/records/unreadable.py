"""Why an image file could not be used, in a word for tables and a line for people.

Belongs here: the reason codes and the error that carries one.
Does not belong here: finding the reason; whoever opens the file does that.
"""

from resources.errors import MendableError

# Reason code -> what to do about it. The codes are written into `rejected.parquet`: never rename one.
UNREADABLE_REASONS: dict[str, str] = {
    "image_empty": "download the file again",
    "image_truncated": "download the file again",
    "image_unreadable": "download the file again or leave the image out",
    "image_too_large": "scale the image down or raise max_pixels",
    "image_too_small": "send the original image, not a thumbnail",
    "image_format_unsupported": "convert the image to a single-frame JPEG or PNG",
    "cube_unreadable": "save the cube again as .npz with the arrays cube [H, W, B] and wavelengths_nm [B]",
    "cube_too_large": "scale the cube down or keep fewer bands",
    "cube_too_small": "send the original cube, not a thumbnail",
    "cube_wrong_bands": "send a cube whose bands cover the wavelengths the model reads",
    "cube_without_wavelengths": "add the wavelength of every band, in nanometres",
    "cube_uncalibrated": "add the white reference, or store reflectance from 0 to 1",
}


class UnreadableImage(MendableError):
    """An image that is not used, with a reason code of `UNREADABLE_REASONS` and a detail for people.

    `detail` is one line without a path, so that it may be shown to whoever sent the image.
    """

    def __init__(self, reason_code: str, detail: str) -> None:
        mend = UNREADABLE_REASONS[reason_code]
        self.reason_code = reason_code
        self.detail = " ".join(detail.split())
        super().__init__(f"{reason_code}: {self.detail}; {mend}")
