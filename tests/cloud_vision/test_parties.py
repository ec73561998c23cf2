"""What settings let a party reach, and that nothing printed of it holds a secret."""

import json

import pytest

from mm_assets.cloud_vision.parties import party_access
from resources.settings import SettingsError, load_settings

KEYS = {"access_key_id": "AKIA-canary", "secret_access_key": "s3cret-canary", "endpoint": "http://127.0.0.1:1"}


@pytest.fixture
def settings(tmp_path):
    def load(**given):
        return load_settings(home=given.pop("home", str(tmp_path / "mm")), scratch=tmp_path / "scratch", **given)

    return load


def test_unset_a_party_lies_in_mm_home_and_scratch(settings, tmp_path):
    org2, org3 = (party_access(settings(), party) for party in ("org2", "org3"))
    assert org2.home == str(tmp_path / "mm" / "parties" / "org2")
    assert org3.home == str(tmp_path / "mm" / "parties" / "org3")
    assert org2.database == str(tmp_path / "scratch" / "parties" / "org2" / "records.duckdb")
    assert org2.scratch != org3.scratch
    assert (org2.xrays_url, org3.xrays_url) == (None, f"{org3.home}/xrays")
    assert party_access(settings(home="s3://b/mm/"), "org3").xrays_url == "s3://b/mm/parties/org3/xrays"


def test_the_default_database_lies_in_a_folder_that_others_cannot_enter(settings):
    access = party_access(settings(), "org2")
    access.scratch.mkdir(parents=True, mode=0o755)
    access.make_scratch()
    assert access.scratch.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("party", ["org2", "org3"])
def test_the_environment_makes_the_same_access_again_and_names_nothing_of_the_other(settings, party, monkeypatch):
    given = {}
    for one in ("org2", "org3"):
        given[f"{one}_home"] = f"s3://{one}-bucket/home"
        given[f"{one}_database"] = f"postgresql://{one}:pass@127.0.0.1/db"
        given[f"{one}_store"] = json.dumps(KEYS).replace("canary", one)
    access = party_access(settings(**given, org3_xrays_url="s3://org3-bucket/films"), party)
    environment = access.environment()
    other = {"org2": "org3", "org3": "org2"}[party]
    assert not any(other in f"{name} {value}".lower() for name, value in environment.items())
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert party_access(load_settings(), party) == access


def test_options_are_known_with_the_vendors_prefix_too(settings):
    given = settings(org2_store=json.dumps({"AWS_ACCESS_KEY_ID": "a", "aws_region": "r", "endpoint": "e"}))
    assert party_access(given, "org2").store == {"access_key_id": "a", "region": "r", "endpoint": "e"}


def test_nothing_printed_holds_a_secret(settings):
    loaded = settings(org2_store=json.dumps(KEYS), org2_database="postgresql://org2:s3cret-canary@h/d")
    access = party_access(loaded, "org2")
    assert "canary" not in repr(loaded) + str(loaded) + repr(access) + str(access)


@pytest.mark.parametrize("text", ["AKIA-canary", '["AKIA-canary"]', '{"access_key_id": {"AKIA-canary": 1}}'])
def test_credentials_of_another_form_are_refused_without_being_shown(settings, text):
    with pytest.raises(SettingsError, match="MM_ORG3_STORE is no JSON object") as caught:
        party_access(settings(org3_store=text), "org3")
    assert "canary" not in str(caught.value)


def test_a_home_in_memory_is_refused(settings):
    with pytest.raises(SettingsError, match="set MM_ORG2_HOME"):
        party_access(settings(home="memory://x"), "org2")


def test_only_the_image_holder_has_x_rays(settings):
    with pytest.raises(ValueError, match="no X-rays"):
        party_access(settings(), "org2").xrays()


def test_whose_credentials_open_a_store_is_told(settings):
    own = json.dumps(KEYS)
    assert party_access(settings(), "org2").credentials == "own"  # a folder needs none
    remote = settings(org2_home="s3://org2/mm", org3_xrays_url="az://films/xrays")
    assert [party_access(remote, party).credentials for party in ("org2", "org3")] == ["the starter's"] * 2
    assert party_access(remote, "org3").borrowed == ("AZURE_",)
    given = settings(org2_home="s3://org2/mm", org2_store=own)
    assert (party_access(given, "org2").credentials, party_access(given, "org2").borrowed) == ("own", ())
