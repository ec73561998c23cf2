"""The page *Skin pigmentation* in Chromium with a tiny released model; no request may leave the machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.e2e.browsing import Visit, outside, visiting
from tests.e2e.conftest import serving_module
from tests.pigmentation.tiny_skin_release import cube_bytes, photograph_bytes

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_module("tests.e2e.skin_server", tmp_path_factory.mktemp("skin")) as base:
        yield base


@pytest.fixture
def visit(browser: Browser, base_url: str, tmp_path: Path) -> Iterator[Visit]:
    with visiting(browser, base_url, tmp_path) as seen:
        seen.page.get_by_role("tab", name="Skin pigmentation").click()
        expect(seen.page.get_by_role("button", name="Assess")).to_be_visible()
        yield seen


def give(visit: Visit, folder: Path, modality: str, data: bytes) -> None:
    file = folder / f"{modality}.bin"
    file.write_bytes(data)
    visit.page.set_input_files(f"#skin-{modality} input[type=file]", file)


def test_example_is_one_click_to_an_answer_with_its_origin(visit: Visit) -> None:
    page = visit.page
    visit.shot("skin-1-start")
    page.get_by_role("button", name="Dark skin").click()
    expect(page.locator("#skin-dial svg[role=img]")).to_be_visible()
    expect(page.locator("#skin-dial .severity")).to_have_text(re.compile("Mild|Moderate|Severe"))
    expect(page.locator("#skin-maps img.heat")).to_have_count(3)
    expect(page.locator("#skin-changes .track")).to_have_count(2)
    for fact in ("0123456789abcdef", "run-1", "feedbeef", "0.027", "synthetic data", "Not a diagnostic device"):
        expect(page.locator("#skin-provenance")).to_contain_text(fact)
    expect(page.locator("#skin-banner")).to_contain_text("synthetic data")
    visit.shot("skin-2-example")
    assert outside(visit) == []
    assert [error for error in visit.console_errors if "favicon" in error or "Content Security" in error] == []


def test_three_uploads_then_one_left_out(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    give(visit, tmp_path, "clinical", photograph_bytes(5, size=120))
    expect(page.locator("#skin-clinical-preview figcaption")).to_contain_text("120 × 120")
    give(visit, tmp_path, "dermoscopy", photograph_bytes(6))
    expect(page.locator("#skin-dermoscopy-preview img")).to_be_visible()
    give(visit, tmp_path, "multispectral", cube_bytes(7))
    expect(page.locator("#skin-multispectral-preview img")).to_be_visible()
    page.get_by_role("button", name="Assess").click()
    expect(page.locator("#skin-maps img.heat")).to_have_count(3)
    expect(page.locator("#skin-notices")).to_contain_text("rendered")
    told = page.locator("#skin-changes .number").first.inner_text()
    without = re.search(r"without: ([0-9.]+)", told)
    assert without is not None

    page.get_by_label("Dermoscopy image", exact=True).check()
    expect(page.locator("#skin-notices")).to_contain_text("Read without: dermoscopy image")
    expect(page.locator("#skin-notices")).not_to_contain_text("Missing")
    expect(page.locator("#skin-maps img.heat")).to_have_count(2)
    assert float(page.locator("#skin-dial .score").inner_text()) == pytest.approx(float(without[1]), abs=0.0011)
    visit.shot("skin-3-left-out")

    page.locator("#skin-opacity input[type=number]").fill("10")
    page.locator("#skin-opacity input[type=number]").press("Tab")
    expect(page.locator("#skin-maps img.heat").first).to_have_attribute("style", re.compile(r"opacity:\s*0\.1;?"))


def test_a_clinical_photograph_alone_is_enough(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    give(visit, tmp_path, "clinical", photograph_bytes(8))
    expect(page.locator("#skin-clinical-preview img")).to_be_visible()
    page.get_by_role("button", name="Assess").click()
    expect(page.locator("#skin-notices")).to_contain_text("No dermoscopy image or multispectral image")
    expect(page.locator("#skin-maps img.heat")).to_have_count(1)
    expect(page.locator("#skin-leave-out")).not_to_be_visible()
    visit.shot("skin-4-clinical-only")


def test_a_wrong_file_is_told_without_a_server_path_and_no_old_answer_stays(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    page.get_by_role("button", name="Tan skin").click()
    expect(page.locator("#skin-dial svg[role=img]")).to_be_visible()
    give(visit, tmp_path, "multispectral", photograph_bytes(3))
    toast = page.locator("[data-testid=toast-body]").first
    expect(toast).to_contain_text("Multispectral image: A picture of three channels was sent where the model reads 6")
    for trace in ("/tmp", "Traceback", "Error(", ".py"):
        assert trace not in toast.inner_text()
    expect(page.locator("#skin-dial")).not_to_be_visible()


def test_without_a_clinical_photograph_the_page_says_so(visit: Visit, tmp_path: Path) -> None:
    page = visit.page
    give(visit, tmp_path, "dermoscopy", photograph_bytes(3))
    expect(page.locator("#skin-dermoscopy-preview img")).to_be_visible()
    page.get_by_role("button", name="Assess").click()
    expect(page.locator("[data-testid=toast-body]").first).to_contain_text("Add a clinical photograph")


def test_narrow_screen_and_dark_theme_have_no_sideways_scroll(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{visit.base}/demo/?__theme=dark")
    page.get_by_role("tab", name="Skin pigmentation").click()
    page.get_by_role("button", name="Tan skin").click()
    expect(page.locator("#skin-provenance")).to_contain_text("Model version")
    visit.shot("skin-5-narrow-dark")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
