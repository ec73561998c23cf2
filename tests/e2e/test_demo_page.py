"""The page *Chest X-ray* in Chromium, as a clinician uses it; no request may leave the machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from mm_assets.mimic.schema import LABELS
from tests.e2e.browsing import Visit, outside, visiting
from tests.e2e.conftest import serving_module
from tests.ui.fakes import film_bytes, png_16_bit

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_module("tests.e2e.fake_server", tmp_path_factory.mktemp("fake")) as base:
        yield base


@pytest.fixture
def visit(browser: Browser, base_url: str, tmp_path: Path) -> Iterator[Visit]:
    with visiting(browser, base_url, tmp_path) as seen:
        yield seen


def test_example_is_one_click_to_an_answer_with_its_origin(visit: Visit) -> None:
    page = visit.page
    visit.shot("1-start")
    page.get_by_role("button", name="Woman, 71").click()
    findings = page.locator("#chest-findings")
    expect(findings).to_contain_text("Pleural Effusion")
    assert findings.locator("tbody tr").count() == len(LABELS)
    expect(page.locator("#chest-heat img.heat")).to_be_visible()
    expect(page.locator("#chest-complaint textarea, #chest-complaint input")).to_have_value("shortness of breath")
    footer = page.locator("#chest-provenance")
    for fact in ("0123456789abcdef", "run-1", "fedcba9876543210", "0.812", "0.790", "synthetic data",
                 "Not a diagnostic device"):  # fmt: skip
        expect(footer).to_contain_text(fact)
    # Text from outside is shown, not run.
    expect(page.locator("#chest-passages")).to_contain_text("<b>suggests</b>")
    visit.shot("2-example")
    assert outside(visit) == []
    assert [error for error in visit.console_errors if "favicon" in error or "Content Security" in error] == []


def test_order_of_the_answer(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Woman, 71").click()
    expect(page.locator("#chest-provenance")).to_contain_text("Model version")
    parts = ["notices", "findings", "heat", "parts", "leave-out", "passages", "provenance"]
    tops = [page.locator(f"#chest-{part}").bounding_box() for part in parts]
    assert all(box is not None for box in tops)
    heights = [box["y"] for box in tops if box is not None]
    assert heights == sorted(heights)


def test_dicom_without_extension_is_previewed_and_read(visit: Visit, tmp_path: Path) -> None:
    from pydicom.data import get_testdata_file

    found = get_testdata_file("RG1_UNCR.dcm", download=False)
    assert isinstance(found, str)
    film = tmp_path / "IM000001"
    film.write_bytes(Path(found).read_bytes())
    page = visit.page
    page.set_input_files("#chest-upload input[type=file]", film)
    expect(page.locator("#chest-preview figcaption")).to_contain_text("1841 × 1955")
    page.get_by_role("button", name="Read", exact=True).click()
    expect(page.locator("#chest-findings tbody tr")).to_have_count(len(LABELS))
    expect(page.locator("#chest-notices")).to_contain_text("synthetic")
    frame = page.locator("#chest-heat .frame").bounding_box()
    assert frame is not None
    assert frame["width"] / frame["height"] == pytest.approx(1841 / 1955, abs=0.01)
    visit.shot("3-dicom")


def test_label_opacity_and_left_out_modality_change_what_is_shown(visit: Visit, tmp_path: Path) -> None:
    film = tmp_path / "film.jpg"
    film.write_bytes(film_bytes(5))
    page = visit.page
    page.set_input_files("#chest-upload input[type=file]", film)
    expect(page.locator("#chest-preview img")).to_be_visible()
    page.locator("#chest-complaint textarea, #chest-complaint input").fill("cough and fever")
    page.get_by_role("button", name="Read", exact=True).click()
    heat = page.locator("#chest-heat img.heat")
    expect(heat).to_be_visible()

    before = heat.get_attribute("src")
    page.locator("#chest-label input").click()
    page.get_by_role("option", name="Pneumothorax", exact=True).click()
    expect(page.locator("#chest-heat figcaption")).to_contain_text("Influence on Pneumothorax")
    assert heat.get_attribute("src") != before

    page.locator("#chest-opacity input[type=number]").fill("10")
    page.locator("#chest-opacity input[type=number]").press("Tab")
    expect(heat).to_have_attribute("style", re.compile(r"opacity:\s*0\.1;?"))

    numbers = page.locator("#chest-findings tbody").inner_text()
    page.get_by_label("Chest film", exact=True).check()
    expect(page.locator("#chest-notices")).to_contain_text("Read without: image")
    assert page.locator("#chest-findings tbody").inner_text() != numbers
    expect(page.locator("#chest-heat")).to_contain_text("no heat-map")
    visit.shot("4-left-out")


def test_typing_takes_the_answer_away(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Woman, 71").click()
    expect(page.locator("#chest-provenance")).to_contain_text("Model version")
    page.locator("#chest-complaint :is(input, textarea)").press_sequentially("!")
    expect(page.locator("#chest-answer")).not_to_be_visible()
    expect(page.locator("#chest-empty")).to_be_visible()
    page.get_by_role("button", name="Read", exact=True).click()
    expect(page.locator("#chest-provenance")).to_contain_text("Model version")
    page.locator("#chest-sex").get_by_label("male", exact=True).check()
    expect(page.locator("#chest-answer")).not_to_be_visible()


def test_leaving_everything_out_is_told_and_the_answer_stays_with_its_ticks(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Man, 34").click()
    boxes = page.locator("#chest-leave-out input[type=checkbox]")
    expect(boxes).to_have_count(2)
    boxes.nth(0).check()
    expect(page.locator("#chest-notices")).to_contain_text("Read without")
    numbers = page.locator("#chest-findings tbody").inner_text()
    boxes.nth(1).check()
    expect(page.locator("[data-testid=toast-body]").first).to_be_visible()
    expect(boxes.nth(1)).not_to_be_checked()
    expect(boxes.nth(0)).to_be_checked()
    assert page.locator("#chest-findings tbody").inner_text() == numbers


def test_garbage_gives_a_toast_without_a_server_path_and_no_old_answer_stays(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    page.get_by_role("button", name="Woman, 71").click()
    expect(page.locator("#chest-findings tbody tr")).to_have_count(len(LABELS))
    garbage = tmp_path / "film.jpg"
    garbage.write_bytes(b"this is not a film at all")
    page.set_input_files("#chest-upload input[type=file]", garbage)
    toast = page.locator("[data-testid=toast-body]").first
    expect(toast).to_contain_text("cannot be read as JPEG, PNG or DICOM")
    visit.shot("5-garbage")
    for trace in ("/tmp", "Traceback", "Error(", ".py"):
        assert trace not in toast.inner_text()
    expect(page.locator("#chest-findings")).not_to_be_visible()
    expect(page.locator("#chest-preview img")).to_have_count(0)


def test_value_out_of_range_is_named(visit: Visit) -> None:
    page = visit.page
    page.locator("#chest-heartrate :is(input, textarea)").fill("999")
    page.get_by_role("button", name="Read", exact=True).click()
    expect(page.locator("[data-testid=toast-body]").first).to_contain_text(
        "Heart rate: should be less than or equal to 350"
    )


def test_sixteen_bit_film_is_not_white(visit: Visit, tmp_path: Path) -> None:
    film = tmp_path / "ramp.png"
    film.write_bytes(png_16_bit())
    page = visit.page
    page.set_input_files("#chest-upload input[type=file]", film)
    picture = page.locator("#chest-preview img")
    expect(picture).to_be_visible()
    mean = picture.evaluate(
        """async (img) => { await img.decode();
        const c = document.createElement('canvas'); c.width = c.height = 64;
        const g = c.getContext('2d'); g.drawImage(img, 0, 0, 64, 64); const d = g.getImageData(0, 0, 64,
        64).data; let s = 0; for (let i = 0; i < d.length; i += 4) s += d[i];
        return s / (64 * 64); }"""
    )
    assert 100 < mean < 156


def test_narrow_screen_and_dark_theme_have_no_sideways_scroll(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{visit.base}/demo/?__theme=dark")
    page.get_by_role("button", name="Woman, 71").click()
    expect(page.locator("#chest-provenance")).to_contain_text("Model version")
    visit.shot("6-narrow-dark")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_documentation_of_the_api_works_without_network(visit: Visit) -> None:
    page = visit.page
    page.goto(f"{visit.base}/docs")
    expect(page.locator(".opblock-summary-path").filter(has_text="mimic")).to_be_visible()
    visit.shot("7-docs")
    assert outside(visit) == []
