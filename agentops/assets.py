"""Static files under the names that change with their content, each name looked up once in a process."""

from functools import cache

from whitenoise.storage import CompressedManifestStaticFilesStorage


class AssetStorage(CompressedManifestStaticFilesStorage):  # type: ignore[misc]
    """WhiteNoise's, whose addresses are remembered: a page prints a dozen, and they stay as they are collected."""

    def __init__(self, *args: object, **kwargs: object) -> None:
        super().__init__(*args, **kwargs)
        self._address = cache(super().url)

    def url(self, name: str, force: bool = False) -> str:
        """Return the address of a file."""
        return str(self._address(name, force))
