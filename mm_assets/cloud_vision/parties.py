"""What one organisation may reach: its home, its database, its own credentials, and nothing of the other.

Belongs here: from settings to one party's access, and back to the environment that its process gets. Does not belong
here: the process (party_process.py) and what it does (party_work.py).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import SecretStr

from mm_assets.cloud_vision.schema import IMAGE_HOLDER, Organisation
from resources.artifacts import ArtifactStore
from resources.objects import ObjectStore
from resources.settings import Settings, SettingsError

_FOLDER = "parties"  # of MM_HOME and of MM_SCRATCH: what is not given a place of its own
_DATABASE = "records.duckdb"
_VENDORS = {"s3": "AWS_", "gs": "GOOGLE_", "az": "AZURE_"}  # scheme -> how its variables begin
_VENDOR_PREFIX = "aws_"  # options are known with and without it


@dataclass(frozen=True)
class PartyAccess:
    """One party's places and credentials; what it is printed as holds no secret."""

    party: Organisation
    home: str  # URL or path of its artifacts
    database: str = field(repr=False)  # SQLAlchemy URL, or path of a DuckDB file
    store: Mapping[str, str] = field(repr=False)  # options of ObjectStore.at; empty: the process's own environment
    scratch: Path  # local folder for its drafts, copies and default database, closed to other users
    xrays_url: str | None = None  # of the image holder alone

    @property
    def borrowed(self) -> tuple[str, ...]:
        """Beginnings of the vendors' variables that it is lent by whoever starts it, for lack of credentials of its
        own; empty where it has some, or stores that need none."""
        if self.store:
            return ()
        schemes = {url.partition("://")[0] for url in (self.home, self.xrays_url or "")}
        return tuple(prefix for scheme, prefix in _VENDORS.items() if scheme in schemes)

    @property
    def credentials(self) -> str:
        """Whose credentials open its stores, for people."""
        return "the starter's" if self.borrowed else "own"

    def artifacts(self) -> ArtifactStore:
        """The party's own artifacts."""
        return ArtifactStore(self.home, self.scratch, **self.store)

    def xrays(self) -> ObjectStore:
        """Where the image holder's X-rays are uploaded to."""
        if self.xrays_url is None:
            raise ValueError(f"{self.party} holds no X-rays")
        return ObjectStore.at(self.xrays_url, **self.store)

    def make_scratch(self) -> None:
        """Makes the local folder, or closes it to everybody but this user."""
        self.scratch.mkdir(parents=True, exist_ok=True)
        self.scratch.chmod(0o700)

    def environment(self) -> dict[str, str]:
        """The variables from which ``party_access(load_settings(), party)`` makes the same access elsewhere."""
        name = self.party.upper()
        variables = {
            "MM_SCRATCH": str(self.scratch.parent.parent),
            f"MM_{name}_HOME": self.home,
            f"MM_{name}_DATABASE": self.database,
        }
        if self.store:
            variables[f"MM_{name}_STORE"] = json.dumps(dict(self.store))
        if self.xrays_url is not None:
            variables[f"MM_{name}_XRAYS_URL"] = self.xrays_url
        return variables


def party_access(settings: Settings, party: Organisation) -> PartyAccess:
    """What ``settings`` let one party reach. Nothing is opened. Raises SettingsError."""
    org3 = party == IMAGE_HOLDER
    home = settings.org3_home if org3 else settings.org2_home
    database = settings.org3_database if org3 else settings.org2_database
    store = settings.org3_store if org3 else settings.org2_store
    home = (home or f"{settings.home.rstrip('/')}/{_FOLDER}/{party}").rstrip("/")
    if home.startswith("memory:"):
        raise SettingsError(
            f"{party}'s home would be {home}, which its own process cannot reach: set MM_{party.upper()}_HOME to a "
            "folder or a bucket"
        )
    scratch = settings.scratch / _FOLDER / party
    return PartyAccess(
        party=party,
        home=home,
        database=_database(database) if database else str(scratch / _DATABASE),
        store=_options(store, f"MM_{party.upper()}_STORE") if store else {},
        scratch=scratch,
        xrays_url=(settings.org3_xrays_url or f"{home}/xrays") if org3 else None,
    )


def _database(given: SecretStr) -> str:
    text = given.get_secret_value()
    return text if "://" in text else str(Path(text).expanduser().absolute())


def _options(given: SecretStr, variable: str) -> dict[str, str]:
    """No message shows what was given: it may hold keys."""
    try:
        options = json.loads(given.get_secret_value())
    except ValueError:
        options = None
    if not isinstance(options, dict) or not all(isinstance(value, str) for value in options.values()):
        raise SettingsError(
            f'{variable} is no JSON object of texts: write {{"access_key_id": "...", "secret_access_key": "..."}}'
        )
    return {name.lower().removeprefix(_VENDOR_PREFIX): value for name, value in options.items()}
