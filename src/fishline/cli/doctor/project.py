"""Checks of the project: parameters, photographs, DVC's cache and remote."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fishline.cli.doctor.checks import Check, failure, ok, unwritable, warning, within
from fishline.cli.help import require_params
from fishline.core.dvc import repository
from fishline.core.errors import UserError
from fishline.core.params import PATH, load_params

if TYPE_CHECKING:
    from dvc.repo import Repo

SAMPLE = "data/sample"  # what the stage of that name draws
PATIENCE = 5.0  # seconds for a remote to answer


def parameters() -> Iterator[Check]:
    """Whether params.yaml is valid."""
    require_params()
    params = load_params()
    base, new = len(params.base.species), len(params.finetune.species)
    yield ok(f"valid; {base} base and {new} new species" if new else f"valid; {base} species")


def data() -> Iterator[Check]:
    """Whether every species has photographs."""
    from fishline.data.photo_files import count_images, other_folders

    try:
        params = load_params()
    except UserError:
        return  # has a check of its own
    folder = Path(params.data.dir)
    if not folder.is_dir():
        yield _absent(folder)
        return
    counts = count_images(folder, params.species)
    empty = [name for name in params.species if not counts.get(name)]
    others = other_folders(folder, params.species)
    unnamed = f"; not in {PATH}: {', '.join(others)}" if others else ""
    if empty:
        yield failure(
            f"{folder} has no photographs of {', '.join(empty)}{unnamed}",
            f"a folder for each species, named as in base.species and finetune.species of "
            f"{PATH}; `fishline ingest FOLDER` brings photographs",
        )
        return
    total = f"{sum(counts.values()):,} files of {len(counts)} species in {folder}"
    yield ok(total + unnamed)


def _absent(folder: Path) -> Check:
    if folder.with_name(f"{folder.name}.dvc").is_file():
        return failure(
            f"{folder} is not here; {folder}.dvc records it",
            f"`dvc checkout {folder}`, or `dvc pull {folder}` from the remote",
        )
    if folder == Path(SAMPLE):
        return warning(f"{folder} is not here yet", "`dvc repro` draws it")
    return failure(
        f"there is no folder {folder}, which data.dir in {PATH} names",
        "`fishline ingest FOLDER` brings photographs into data/raw; "
        f"data.dir: {SAMPLE} is the built-in set",
    )


def cache() -> Iterator[Check]:
    """Whether DVC can keep results, and by which links they come into the checkout."""
    with repository() as repo:
        if repo:
            yield _kept(repo)
            return
    yield failure(
        "no DVC project here or above",
        "run this in the project's root folder, or `dvc init` first",
    )


def _kept(repo: Repo) -> Check:
    path = Path(repo.cache.local.path)
    if why := unwritable(path):
        advice = f"make {path} writable, or `dvc cache dir --local FOLDER` names another"
        return failure(f"cannot be written: {why}", advice)
    if not path.exists():
        return ok(f"{path} will be made")
    link = _link(repo)
    if link != "copy":
        return ok(f"{path}; files come into the checkout by {link}")
    advice = (
        "if they should be shared, keep both on one disk, or allow links: "
        "`dvc config cache.type reflink,hardlink,symlink,copy`"
    )
    return warning(f"{path}; files are copied: each takes its room twice", advice)


def _link(repo: Repo) -> str:
    """The first of the configured kinds of link that works between cache and checkout."""
    from dvc_objects.fs.generic import test_links

    local = repo.cache.local
    kinds = [kind for kind in local.cache_types if kind != "copy"]
    # The first path stands for a file, and its folder is what is tried; the second as well.
    works = test_links(kinds, local.fs, local.path, repo.fs, str(Path(repo.root_dir, "x")))
    return str(next(iter(works), "copy"))


def remote() -> Iterator[Check]:
    """Whether the default remote answers."""
    with repository() as repo:
        if repo is None:
            return  # has a check of its own
        name = repo.config["core"].get("remote")
        if name:
            yield _reached(repo, name)
            return
        others = ", ".join(repo.config["remote"])
        yield warning(
            f"no default remote{others and f' among {others}'}: "
            "data and models are in this clone alone",
            "`dvc remote default NAME`" if others else "`dvc remote add --default NAME URL`",
        )


def _reached(repo: Repo, name: str) -> Check:
    url = f"{name} ({repo.config['remote'].get(name, {}).get('url', '?')})"
    advice = (
        f"is the address right (`dvc remote list`), the network there, the key or password set "
        f"(`dvc remote modify --local {name} …`)?"
    )
    try:
        there, local = within(PATIENCE, lambda: _look(repo, name))
    except Exception as error:  # each kind of remote fails in its own ways
        why = str(error) or type(error).__name__
        return failure(f"{url} cannot be used: {why}", advice)
    if local and (why := unwritable(local)):
        return failure(f"{url} cannot be written: {why}", advice)
    if not there:
        return warning(f"{url} is empty or not there yet", "`dvc push` makes it")
    return ok(url)


def _look(repo: Repo, name: str) -> tuple[bool, Path | None]:
    """Whether the remote's folder is there, and the folder itself where it is on this machine."""
    remote: Any = repo.cloud.get_remote(name)
    local = Path(remote.path) if remote.fs.protocol == "local" else None
    return bool(remote.fs.exists(remote.path)), local
