"""The released model of a wing, kept up to date while the server runs.

Belongs here: noticing a new release, loading it beside the one in use, trying it once, swapping one reference; and the
current release for one command.
Does not belong here: what a model answers (the wing's predictor), which wings there are (`ui.wings`) and how a release
is published (the artifacts).
"""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

from mm_assets.learning.provenance import Origin
from resources.artifacts import Artifact, ArtifactMissing, ArtifactStore
from resources.errors import MendableError
from resources.settings import Settings
from ui.wings import wing_named

log = logging.getLogger(__name__)


class Served(Protocol):
    """What every released model can do, whatever it answers; routes and pages know their wing's own predictor."""

    @property
    def provenance(self) -> Origin: ...

    @property
    def examples(self) -> Sequence[Any]:
        """Cases ready to click; none in a model of patients' data."""
        ...

    def try_once(self) -> None:
        """Answer a case of its own; raises when this model cannot."""
        ...


P = TypeVar("P", bound=Served)
# What is wrong with the release itself: the same at every attempt. Anything else (memory, a disk, a library) may pass.
_BROKEN = (MendableError, ValueError, KeyError, TypeError)
LONGEST_PAUSE_S = 60.0
# From the local folder of a released artifact to its predictor.
Load = Callable[[Path, Artifact], P]


@dataclass(frozen=True)
class Release(Generic[P]):
    """A model that has answered its trial case."""

    version: str
    predictor: P


class ReleasedModel(Generic[P]):
    """Holds the newest working release of a wing.

    Readers take `current` once per request and keep that object: a swap is one assignment and needs no lock.
    `loading` tells whether a release is on its way; until one is there, `absence` says why.
    A version that fails to load or to answer leaves the one before in place and is told in `last_error`. A broken one
    is tried again only when another version was published; any other failure after pauses that double, up to a minute.
    """

    def __init__(self, store: ArtifactStore, wing: str, load: Load[P], *, interval_s: float = 1.0) -> None:
        self.wing = wing
        self.current: Release[P] | None = None
        self.last_error: str | None = None
        self.loading = True  # until the first look says that there is nothing to load
        self._store, self._load, self._interval_s = store, load, interval_s
        self._failed_version: str | None = None
        self._pause_s, self._again_at = 0.0, 0.0  # of the failed version; infinite: never
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def absence(self) -> str:
        """Why there is nothing to answer with while `current` is None, and how to mend it, for whoever asked."""
        if self.loading:
            return f"The model of wing {self.wing} is being loaded; ask again in a minute."
        if self.last_error:
            return f"No model of wing {self.wing} can be used. {self.last_error}"
        return f"No model of wing {self.wing} is released yet. Run `mm demo --wing {self.wing}`, then ask again."

    def refresh(self) -> bool:
        """Look once; True when another version is now in use. Never raises."""
        try:
            return self._look()
        finally:
            self.loading = False

    def _look(self) -> bool:
        try:
            artifact = self._store.current(self.wing, "released_model")
            version = artifact.version
            if version == self._failed_version and time.monotonic() < self._again_at:
                return False
            if self.current is not None and version == self.current.version:
                self.last_error = None
                return False
            self.loading = True
            folder = self._store.local_folder(artifact)
        except ArtifactMissing:
            self.last_error = None
            return False
        except Exception:
            # An unreachable store is not a broken model: keep serving and look again.
            log.warning("cannot look for a release of %s", self.wing, exc_info=True)
            self.last_error = "The artifact store could not be read; see the server log."
            return False
        try:
            predictor = self._load(folder, artifact)
            predictor.try_once()
        except Exception as error:
            log.exception("release %s of %s is not usable", version, self.wing)
            self._again_after(version, broken=isinstance(error, _BROKEN))
            # The class says enough to look it up in the log; the message may hold paths.
            self.last_error = f"Version {version} could not be used ({type(error).__name__}); see the server log."
            return False
        self.current, self.last_error, self._failed_version = Release(version, predictor), None, None
        log.info("serving %s version %s", self.wing, version)
        return True

    def _again_after(self, version: str, *, broken: bool) -> None:
        doubled = 2 * self._pause_s if version == self._failed_version else self._interval_s
        self._pause_s = float("inf") if broken else min(doubled, LONGEST_PAUSE_S)
        self._failed_version, self._again_at = version, time.monotonic() + self._pause_s

    def start(self) -> None:
        """Watch in a daemon thread until `stop`."""
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, name=f"released-{self.wing}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)

    def _watch(self) -> None:
        while not self._stop.is_set():
            self.refresh()
            self._stop.wait(self._interval_s)


def released_predictor(settings: Settings, wing: str) -> Any:
    """What a wing has released now. Raises ArtifactMissing, and BundleIncomplete where it is damaged."""
    store = ArtifactStore(settings.home, settings.scratch)
    artifact = store.current(wing, "released_model")
    return wing_named(wing).load(store.local_folder(artifact), artifact)
