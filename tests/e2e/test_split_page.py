"""The page *Split learning* in Chromium with a tiny released model; no request may leave the machine."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from mm_assets.cloud_vision.schema import CLASSES, FEATURES
from tests.cloud_vision.tiny_split_release import VERDICT, drawn_film
from tests.e2e.browsing import Visit, outside, visiting
from tests.e2e.conftest import serving_module
from tests.e2e.split_server import SLOW_F9, SLOW_S

pytestmark = [pytest.mark.browser, pytest.mark.server]


@pytest.fixture(scope="module")
def base_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serving_module("tests.e2e.split_server", tmp_path_factory.mktemp("split")) as base:
        yield base


@pytest.fixture
def visit(browser: Browser, base_url: str, tmp_path: Path) -> Iterator[Visit]:
    with visiting(browser, base_url, tmp_path) as seen:
        seen.page.get_by_role("tab", name="Split learning").click()
        expect(seen.page.get_by_role("button", name="Answer together")).to_be_visible()
        yield seen


def field(page: Page, name: str) -> str:
    return f"#split-{name} :is(input, textarea)"


def shares(page: Page, part: str) -> dict[str, str]:
    """Class -> probability as shown in a part of the answer."""
    rows = page.locator(f"#split-{part} .mm-parts > span:not(.track)").all_inner_texts()
    return dict(zip(rows[::2], rows[1::2], strict=True))


def give(visit: Visit, folder: Path, data: bytes) -> None:
    file = folder / "IM000001"  # films often have no extension
    file.write_bytes(data)
    visit.page.set_input_files("#split-upload input[type=file]", file)


def test_example_is_one_click_to_three_answers_with_their_origin(visit: Visit) -> None:
    page = visit.page
    visit.shot("split-1-start")
    page.get_by_role("button", name="COVID-19, ground-glass film").first.click()
    expect(page.locator("#split-film img.heat")).to_be_visible()
    expect(page.locator("#split-film img.plate")).to_have_attribute("alt", "Outline of the true lesion")
    for part in ("joint", "org2-alone", "org3-alone"):
        found = shares(page, part)
        assert list(found) == list(CLASSES)
        assert sum(float(share.rstrip("%")) for share in found.values()) == pytest.approx(100, abs=1.6)
    expect(page.locator("#split-joint")).to_contain_text("true class")
    expect(page.locator("#split-joint")).to_contain_text("right on 81% of the test records")
    expect(page.locator("#split-org2-alone")).to_contain_text("Organisation 2 alone: right on 58%")
    expect(page.locator("#split-film")).to_contain_text("inside the true lesion, which covers")
    expect(page.locator("#split-crossed")).to_contain_text(re.compile(r"Organisation 3 → 2.*\d+ bytes", re.DOTALL))
    expect(page.locator("#split-leak")).to_contain_text(VERDICT)
    expect(page.locator(field(page, "f0"))).to_have_value(re.compile(r"^-?[0-9.]+$"))
    for fact in ("0123456789abcdef", "run-1", "feedbeef", "0.810", "synthetic data", "Not a diagnostic device"):
        expect(page.locator("#split-provenance")).to_contain_text(fact)
    expect(page.locator("#split-banner")).to_contain_text("synthetic data")
    visit.shot("split-2-example")
    assert outside(visit) == []
    assert [error for error in visit.console_errors if "favicon" in error or "Content Security" in error] == []


def test_a_clear_film_has_no_lesion_and_the_slider_fades_the_map(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Normal, clear film").first.click()
    expect(page.locator("#split-film")).to_contain_text("There is no lesion on this film.")
    expect(page.locator("#split-film img.plate")).to_have_count(0)
    page.locator("#split-opacity input[type=number]").fill("10")
    page.locator("#split-opacity input[type=number]").press("Tab")
    expect(page.locator("#split-film img.heat")).to_have_attribute("style", re.compile(r"opacity:\s*0\.1;?"))


def test_an_upload_with_some_values_is_answered_as_by_the_api(visit: Visit, tmp_path: Path) -> None:
    page, (film, _) = visit.page, drawn_film("interstitial", seed=50)
    give(visit, tmp_path, film)
    expect(page.locator("#split-preview figcaption")).to_contain_text("256 × 256")
    page.locator(field(page, "f0")).fill("1,5")  # a decimal comma
    page.locator(field(page, "f7")).fill("-0.25")
    page.get_by_role("button", name="Answer together").click()
    expect(page.locator("#split-notices")).to_contain_text("No value of f1, f2, f3, f4, f5, f6, f8, f9")
    expect(page.locator("#split-notices")).to_contain_text("drawn X-rays")
    expect(page.locator("#split-film")).to_contain_text("Where a lesion is on this film is not known")
    expect(page.locator("#split-joint")).not_to_contain_text("true class")
    answer = httpx.post(
        f"{visit.base}/predict/cloud_vision", files={"xray": film}, data={"f0": "1.5", "f7": "-0.25"}, timeout=60
    ).json()
    assert shares(page, "joint") == {label: f"{share:.0%}" for label, share in answer["probabilities"].items()}
    alone = answer["alone"]["org3"]
    assert shares(page, "org3-alone") == {label: f"{share:.0%}" for label, share in alone.items()}
    visit.shot("split-3-upload")


def test_changed_features_keep_the_lesion_and_lose_the_class(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="COVID-19, ground-glass film").first.click()
    expect(page.locator("#split-joint")).to_contain_text("true class")
    before = shares(page, "org2-alone")
    page.locator(field(page, "f0")).fill("-9")
    page.get_by_role("button", name="Answer together").click()
    expect(page.locator("#split-joint")).not_to_contain_text("true class")
    expect(page.locator("#split-film img.plate")).to_be_visible()
    assert shares(page, "org2-alone") != before


def no_answer(page: Page) -> None:
    expect(page.locator("#split-answer")).not_to_be_visible()
    expect(page.locator("#split-empty")).to_be_visible()
    for part in ("org2-alone", "org3-alone", "joint"):
        expect(page.locator(f"#split-{part} .mm-parts")).to_have_count(0)


def test_typing_takes_the_answer_away_and_not_the_next_one(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="COVID-19, ground-glass film").first.click()
    expect(page.locator("#split-provenance")).to_contain_text("Model version")
    page.locator(field(page, "f7")).press_sequentially("12")
    no_answer(page)
    page.get_by_role("button", name="Answer together").click()
    expect(page.locator("#split-provenance")).to_contain_text("Model version")
    page.wait_for_timeout(500)  # whatever typing has started is over
    expect(page.locator("#split-answer")).to_be_visible()
    assert list(shares(page, "org2-alone")) == list(CLASSES)


@pytest.mark.parametrize("change", ["film", "feature", "clear"])
def test_an_answer_to_come_is_dropped_when_its_record_changes(visit: Visit, tmp_path: Path, change: str) -> None:
    page = visit.page
    page.get_by_role("button", name="COVID-19, ground-glass film").first.click()
    expect(page.locator("#split-provenance")).to_contain_text("Model version")
    page.locator(field(page, "f9")).fill(f"{SLOW_F9:g}")
    with page.expect_request("**/queue/join*"):
        page.get_by_role("button", name="Answer together").click()
    page.wait_for_timeout(300)
    if change == "film":
        give(visit, tmp_path, drawn_film("clear", seed=51)[0])
    elif change == "feature":
        page.locator(field(page, "f0")).press_sequentially("1")
    else:
        page.locator("#split-clear").click()
    page.wait_for_timeout(1000 * SLOW_S + 1000)
    no_answer(page)
    # The page still asks and answers.
    page.get_by_role("button", name="Normal, clear film").first.click()
    expect(page.locator("#split-provenance")).to_contain_text("Model version")


def test_clear_empties_everything(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Viral pneumonia, interstitial film").first.click()
    expect(page.locator("#split-provenance")).to_contain_text("Model version")
    page.locator("#split-clear").click()
    expect(page.locator("#split-answer")).not_to_be_visible()
    expect(page.locator("#split-org2-alone .mm-parts")).to_have_count(0)
    for name in FEATURES:
        expect(page.locator(field(page, name))).to_have_value("")


def test_what_cannot_be_used_is_told_without_a_server_path_and_no_old_answer_stays(
    visit: Visit, tmp_path: Path
) -> None:
    page = visit.page
    page.get_by_role("button", name="Normal, clear film").first.click()
    expect(page.locator("#split-provenance")).to_contain_text("Model version")
    give(visit, tmp_path, b"GIF89a and no film")
    toast = page.locator("[data-testid=toast-body]").first
    expect(toast).to_contain_text("send JPEG, PNG or DICOM")
    for trace in ("/tmp", "Traceback", "Error(", ".py"):
        assert trace not in toast.inner_text()
    expect(page.locator("#split-answer")).not_to_be_visible()
    expect(page.locator("#split-org3-alone .mm-parts")).to_have_count(0)

    page.get_by_role("button", name="Answer together").click()
    expect(page.get_by_text("Add an X-ray: organisation 3")).to_be_visible()
    page.get_by_role("button", name="Normal, clear film").first.click()
    expect(page.locator("#split-provenance")).to_contain_text("Model version")
    page.locator(field(page, "f3")).fill("many")
    page.get_by_role("button", name="Answer together").click()
    expect(page.get_by_text("f3: not a number")).to_be_visible()


def test_narrow_screen_and_dark_theme_have_no_sideways_scroll(visit: Visit) -> None:
    page = visit.page
    page.set_viewport_size({"width": 420, "height": 900})
    page.goto(f"{visit.base}/demo/?__theme=dark")
    page.get_by_role("tab", name="Split learning").click()
    page.get_by_role("button", name="COVID-19, ground-glass film").first.click()
    expect(page.locator("#split-provenance")).to_contain_text("Model version")
    visit.shot("split-4-narrow-dark")
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")
