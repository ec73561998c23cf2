"""`mm serve` on the release of the small demo, used in Chromium: the answers are the model's own."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect
from pydicom.data import get_testdata_file

from mm_assets.mimic.schema import LABELS
from tests.e2e.browsing import Visit, outside, visiting
from tests.e2e.conftest import House

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture
def visit(browser: Browser, served: str, tmp_path: Path) -> Iterator[Visit]:
    with visiting(browser, served, tmp_path) as seen:
        yield seen


def read(page: Page, film: Path) -> dict[str, str]:
    """Upload a film and press Read; the shown probability of each label."""
    page.set_input_files("#chest-upload input[type=file]", film)
    expect(page.locator("#chest-preview img")).to_be_visible()
    page.get_by_role("button", name="Read", exact=True).click()
    rows = page.locator("#chest-findings tbody tr")
    expect(rows).to_have_count(len(LABELS))
    shown = {label: rows.filter(has=page.get_by_role("rowheader", name=re.compile(rf"{label}$"))) for label in LABELS}
    return {label: row.locator("td.number").first.inner_text() for label, row in shown.items()}


def test_a_real_film_and_a_drawn_one_are_read_by_the_released_model(visit: Visit, house: House) -> None:
    page, released = visit.page, house.status("mimic")["released_model"]
    dicom = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert isinstance(dicom, str)
    of_dicom = read(page, Path(dicom))
    for warning in ("Unlike the training films", "Trained on synthetic films"):
        expect(page.locator("#chest-notices")).to_contain_text(warning)
    provenance = page.locator("#chest-provenance")
    for fact in (released["version"], "synthetic data", "Not a diagnostic device"):
        expect(provenance).to_contain_text(fact)
    expect(page.locator("#chest-heat img.heat")).to_be_visible()
    visit.shot("released-dicom")

    page.locator("#chest-clear").click()
    expect(page.locator("#chest-answer")).not_to_be_visible()
    drawn = sorted((house.home / "mimic" / "released_model" / released["version"] / "examples").glob("*.jpg"))
    of_jpeg = read(page, drawn[0])
    expect(provenance).to_contain_text(released["version"])
    visit.shot("released-jpeg")
    assert of_jpeg != of_dicom
    assert outside(visit) == []
