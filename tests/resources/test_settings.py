"""Environment variables: defaults, paths, and what a wrong value says."""

from pathlib import Path

import pytest

from resources.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for field in Settings.model_fields:
        monkeypatch.delenv(f"MM_{field.upper()}", raising=False)
    monkeypatch.chdir(tmp_path)


def test_defaults_lie_in_the_working_folder(tmp_path: Path) -> None:
    settings = load_settings()
    assert settings.home == str(tmp_path / ".mm")
    assert settings.scratch == tmp_path / ".scratch"
    assert (settings.profile, settings.seed, settings.device, settings.workers) == ("demo", 0, "auto", 2)
    assert settings.mimic_cxr_url is None


def test_variables_are_typed_and_paths_made_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MM_HOME", "s3://bucket/home")
    monkeypatch.setenv("MM_MIMIC_ED_URL", "raw/ed")
    monkeypatch.setenv("MM_MIMIC_IV_URL", "")
    monkeypatch.setenv("MM_WORKERS", "7")
    settings = load_settings()
    assert settings.home == "s3://bucket/home"
    assert settings.mimic_ed_url == str(tmp_path / "raw" / "ed")
    assert settings.mimic_iv_url is None
    assert settings.workers == 7


def test_overrides_win_unless_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_PROFILE", "study")
    assert load_settings(profile="full").profile == "full"
    assert load_settings(profile=None).profile == "study"


def test_wrong_values_name_the_variable_and_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MM_PROFILE", "huge")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value) == "MM_PROFILE='huge' cannot be used: choose one of demo, study, full"
    monkeypatch.setenv("MM_PROFILE", "demo")
    monkeypatch.setenv("MM_WORKERS", "0")
    with pytest.raises(SettingsError, match="MM_WORKERS='0'"):
        load_settings()


def test_places_of_the_two_organisations_are_absolute_and_their_credentials_never_shown(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = load_settings()
    assert (settings.org2_home, settings.org3_database, settings.org3_store) == (None, None, None)
    monkeypatch.setenv("MM_CLOUD_VISION_URL", "films")
    monkeypatch.setenv("MM_ORG2_HOME", "two")
    monkeypatch.setenv("MM_ORG3_HOME", "gs://three/home")
    monkeypatch.setenv("MM_ORG3_XRAYS_URL", "az://films/xrays")
    monkeypatch.setenv("MM_ORG2_DATABASE", "postgresql://org2:canary@host/org2")
    monkeypatch.setenv("MM_ORG3_STORE", '{"account_key": "canary"}')
    settings = load_settings()
    assert settings.cloud_vision_url == str(tmp_path / "films")
    assert settings.org2_home == str(tmp_path / "two")
    assert (settings.org3_home, settings.org3_xrays_url) == ("gs://three/home", "az://films/xrays")
    assert settings.org2_database is not None and settings.org3_store is not None
    assert settings.org2_database.get_secret_value() == "postgresql://org2:canary@host/org2"
    assert "canary" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
