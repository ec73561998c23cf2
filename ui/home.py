"""Where Dagster keeps its history for commands started from this repository.

Belongs here: DAGSTER_HOME and the copy of dagster.yaml in it. Does not belong here: MM_ settings (resources.settings).
"""

import os
import shutil
from pathlib import Path

from resources.errors import MendableError

REPOSITORY = Path(__file__).resolve().parents[1]


class DagsterHomeError(MendableError):
    """DAGSTER_HOME can not be used as it is."""


def prepare_dagster_home() -> Path:
    """Set DAGSTER_HOME (default: `.dagster_home` in the repository), make it and put dagster.yaml in it.

    Without it Dagster keeps the history in a temporary folder and deletes that at the end.
    """
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(REPOSITORY / ".dagster_home")))
    if not home.is_absolute():
        raise DagsterHomeError(f"DAGSTER_HOME is {home}, which is not absolute: set it to a full path or unset it")
    home.mkdir(parents=True, exist_ok=True)
    shipped = REPOSITORY / "dagster.yaml"
    kept = home / "dagster.yaml"
    if shipped.exists() and not kept.exists():
        shutil.copyfile(shipped, kept)
    return home
