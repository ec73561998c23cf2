"""`mm serve` on the release of the small demo, used in Chromium: the answers are the model's own."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
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


def test_a_lesion_of_the_test_split_is_assessed_by_the_released_model(visit: Visit, house: House) -> None:
    page, version = visit.page, house.versions("pigmentation/released_model")["current.json"]
    page.get_by_role("tab", name="Skin pigmentation").click()
    page.get_by_role("button", name=re.compile("Dark skin")).click()
    expect(page.locator("#skin-dial .severity")).to_have_text(re.compile("Mild|Moderate|Severe"))
    expect(page.locator("#skin-provenance")).to_contain_text(version)
    visit.shot("released-skin-example")

    page.locator("#skin-clear").click()
    expect(page.locator("#skin-dial")).not_to_be_visible()
    tree = house.folder("pigmentation/source") / "tree" / "images"
    capture = next(path.stem[:-2] for path in sorted((tree / "multispectral").iterdir()))
    answer = httpx.post(
        f"{visit.base}/predict/pigmentation", timeout=60,
        files={"clinical_image": (tree / "clinical" / f"{capture}-C.jpg").read_bytes()},
    ).json()  # fmt: skip
    page.set_input_files("#skin-clinical input[type=file]", tree / "clinical" / f"{capture}-C.jpg")
    expect(page.locator("#skin-clinical-preview img")).to_be_visible()
    page.get_by_role("button", name="Assess").click()
    expect(page.locator("#skin-dial .score")).to_have_text(f"{answer['score']:.3f}")
    expect(page.locator("#skin-dial .severity")).to_have_text(answer["severity"])
    visit.shot("released-skin-clinical")

    # The cube moves the score; left out, the photograph's own answer is back.
    page.set_input_files("#skin-multispectral input[type=file]", tree / "multispectral" / f"{capture}-M.npz")
    expect(page.locator("#skin-multispectral-preview img")).to_be_visible()
    page.get_by_role("button", name="Assess").click()
    expect(page.locator("#skin-maps img.heat")).to_have_count(2)
    visit.shot("released-skin-two")
    page.get_by_label("Multispectral image", exact=True).check()
    expect(page.locator("#skin-notices")).to_contain_text("Read without: multispectral image")
    expect(page.locator("#skin-dial .score")).to_have_text(f"{answer['score']:.3f}")
    visit.shot("released-skin-left-out")
    assert outside(visit) == []
