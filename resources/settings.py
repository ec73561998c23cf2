"""Every environment variable of the project, typed (``MM_HOME``, ``MM_PROFILE``, ...).

Belongs here: where things are and how much of the machine to use.
Does not belong here: knobs of one asset (its Config class), credentials of MM_HOME and of data sources (obstore
reads the vendors' own variables), and ``MM_HUB_DIR`` (``resources.hub`` reads it, to import on a machine without
pydantic).
"""

import re
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from resources.errors import MendableError

Profile = Literal["demo", "study", "full"]

_HAS_SCHEME = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


class SettingsError(MendableError):
    """An ``MM_*`` variable has a value that cannot be used."""


class Settings(BaseSettings):
    """Where the project keeps things; each field is set by ``MM_<FIELD>``. Local paths are made absolute."""

    model_config = SettingsConfigDict(
        env_prefix="MM_", env_ignore_empty=True, frozen=True, extra="ignore", validate_default=True
    )

    home: str = Field(".mm", description="URL or path of the published artifacts (file, s3, gs, az)")
    profile: Profile = Field("demo", description="which set of defaults the assets take")
    scratch: Path = Field(Path(".scratch"), description="local folder for drafts, caches and checkpoints")
    mimic_cxr_url: str | None = Field(None, description="root of MIMIC-CXR-JPG 2.1.0")
    mimic_ed_url: str | None = Field(None, description="root of MIMIC-IV-ED 2.2")
    mimic_iv_url: str | None = Field(None, description="root of MIMIC-IV 3.1")
    gcs_user_project: str | None = Field(None, description="project billed for requester-pays gs:// buckets")
    pigmentation_url: str | None = Field(None, description="root of skin images; unset: synthetic ones")
    pigmentation_layout: str = Field("auto", description="how they lie there; auto looks for a known layout")
    cloud_vision_url: str | None = Field(None, description="root of chest X-rays; unset: synthetic ones")
    # Two organisations, each with a place of its own; the credentials are theirs (mm_assets/cloud_vision/parties.py).
    org2_home: str | None = Field(None, description="URL or path of its artifacts; unset: parties/org2 in MM_HOME")
    org3_home: str | None = Field(None, description="URL or path of its artifacts; unset: parties/org3 in MM_HOME")
    org2_database: SecretStr | None = Field(None, description="SQLAlchemy URL or DuckDB file; unset: in MM_SCRATCH")
    org3_database: SecretStr | None = Field(None, description="SQLAlchemy URL or DuckDB file; unset: in MM_SCRATCH")
    org2_store: SecretStr | None = Field(None, description="its store's credentials and options, as a JSON object")
    org3_store: SecretStr | None = Field(None, description="its store's credentials and options, as a JSON object")
    org3_xrays_url: str | None = Field(None, description="where its X-rays are uploaded; unset: xrays in its home")
    cors_origins: tuple[str, ...] = Field(
        ("http://localhost:3000",), description="pages of other origins that may call the API, as a JSON list"
    )
    seed: int = Field(0, ge=0)
    device: str = Field("auto", description="auto, cpu, cuda, cuda:N or mps")
    workers: int = Field(2, ge=1, description="processes or threads for heavy local work")

    @field_validator(
        "home", "mimic_cxr_url", "mimic_ed_url", "mimic_iv_url", "pigmentation_url", "cloud_vision_url", "org2_home",
        "org3_home", "org3_xrays_url",
    )  # fmt: skip
    @classmethod
    def _absolute_location(cls, value: str | None) -> str | None:
        """Worker processes may run in another folder, so a relative path is resolved once, here."""
        if value is None or _HAS_SCHEME.match(value):
            return value
        return str(Path(value).expanduser().absolute())

    @field_validator("scratch")
    @classmethod
    def _absolute_scratch(cls, value: Path) -> Path:
        return value.expanduser().absolute()


def load_settings(**overrides: Any) -> Settings:
    """Settings from the environment; an override that is not None wins over its variable.

    Raises ``SettingsError`` naming the variable, the value and what is allowed.
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_in_words(problem) for problem in error.errors())) from None


def _in_words(problem: Any) -> str:
    field = str(problem["loc"][0])
    allowed = f"choose one of {', '.join(get_args(Profile))}" if field == "profile" else problem["msg"]
    return f"MM_{field.upper()}={problem['input']!r} cannot be used: {allowed}"
