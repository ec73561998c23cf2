"""Copies of scratch files in a remote home, so that work which was killed here goes on elsewhere.

Belongs here: where such a copy lies, and bringing it back. Does not belong here: which files are worth a copy and when
(`mm_assets.learning.training` copies a run's checkpoints after each epoch), and results (``resources.artifacts``).
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from resources.objects import ObjectMissing, ObjectStore
from resources.settings import Settings

# Beside the wings in the home; below it the paths are those of the files in scratch.
MIRROR_FOLDER = "scratch-mirror"


@dataclass(frozen=True)
class ScratchMirror:
    """Files of ``scratch`` copied to ``home``; a plain value, so that each process opens the store itself."""

    home: str  # URL
    scratch: Path

    def put(self, file: Path) -> None:
        """Writes or replaces the copy of ``file``. Raises ``ObjectAccessError``."""
        self._store.put(self._key(file), file)

    def fetch(self, file: Path) -> bool:
        """Writes the copy to ``file``, complete or not at all; False when there is none. Raises as ``put``."""
        try:
            self._store.fetch(self._key(file), file)
        except ObjectMissing:
            return False
        return True

    def clear(self, folder: Path) -> None:
        """Deletes the copies of the files in ``folder``."""
        self._store.delete_folder(self._key(folder))

    @cached_property
    def _store(self) -> ObjectStore:
        return ObjectStore.at(self.home)

    def _key(self, path: Path) -> str:
        return f"{MIRROR_FOLDER}/{path.relative_to(self.scratch).as_posix()}"


def mirror_of(settings: Settings) -> ScratchMirror | None:
    """The mirror of a remote home; None for a folder, which is no safer than scratch."""
    remote = ObjectStore.at(settings.home).root is None
    return ScratchMirror(settings.home, settings.scratch) if remote else None
