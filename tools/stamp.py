"""Stamp the repository's public address into badges, setup cells, README, CITATION.cff and the store of the data.

python tools/stamp.py [owner/name]   without an argument: from the git remote `origin`, else as it stands.

The address is kept in one place, [tool.diffgauss] of pyproject.toml; everything else is written from it.
"""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BADGES = re.compile(r"(?s)<!-- badges -->.*?<!-- /badges -->")


def stamp(root: Path, repository: str | None = None) -> list[Path]:
    """Write the address (owner/name, or what pyproject.toml says) everywhere; the files that changed.

    Raises ValueError unless the address is empty or owner/name.
    """
    project = root / "pyproject.toml"
    if repository is None:
        repository = remote(root) or address(root)
    if repository and not re.fullmatch(r"[\w.-]+/[\w.-]+", repository):
        raise ValueError(f"got address {repository!r}; needs owner/name")
    text = project.read_text(encoding="utf-8")
    wanted = {project: re.sub(r'(?m)^repository = ".*"$', f'repository = "{repository}"', text)}
    store = root / "src" / "diffgauss" / "data" / "store.py"
    text = store.read_text(encoding="utf-8")
    wanted[store] = re.sub(r'(?m)^REPOSITORY = ".*"$', f'REPOSITORY = "{repository}"', text)
    tag = ref(root)
    readme, citation = root / "README.md", root / "CITATION.cff"
    for path in [*sorted((root / "notebooks").glob("*.ipynb")), readme]:
        wanted[path] = stamped(path.read_text(encoding="utf-8"), path, repository, tag)
    kept = [
        line
        for line in citation.read_text(encoding="utf-8").splitlines()
        if not line.startswith("repository-code:")
    ]
    if repository:
        kept.insert(kept.index("license: MIT") + 1, f'repository-code: "https://github.com/{repository}"')
    wanted[citation] = "\n".join(kept) + "\n"
    changed = [path for path, new in wanted.items() if path.read_text(encoding="utf-8") != new]
    for path in changed:
        path.write_text(wanted[path], encoding="utf-8")
    return changed


def stamped(text: str, path: Path, repository: str, tag: str) -> str:
    """A notebook's (still JSON) or README's text with its badges and its setup cell's address written anew."""
    if path.suffix == ".ipynb":
        source = f"git+https://github.com/{repository}@{tag}" if repository else ".."
        text = re.sub(r'(DIFFGAUSS_SOURCE\\", \\").*?(\\")', lambda found: found[1] + source + found[2], text)
        return BADGES.sub(lambda _: badges(repository, tag, path.name), text)
    parts = re.split(r"(?m)^(?=\|)", text)  # in README each row of the notebooks' table has badges of its own
    for i, part in enumerate(parts):
        name = re.search(r"notebooks/(\w+\.ipynb)", part)
        parts[i] = BADGES.sub(lambda _, n=name: badges(repository, tag, n.group(1) if n else ""), part)
    return "".join(parts)


def badges(repository: str, tag: str, notebook: str) -> str:
    if not repository:
        return "<!-- badges --><!-- /badges -->"
    colab = f"https://colab.research.google.com/github/{repository}/blob/{tag}/notebooks/{notebook}"
    binder = f"https://mybinder.org/v2/gh/{repository}/{tag}" + (
        f"?labpath=notebooks/{notebook}" if notebook else ""
    )
    kaggle = (
        f"https://kaggle.com/kernels/welcome?src=https://github.com/{repository}/blob/{tag}/notebooks/{notebook}"
    )
    links = [f"[![Open in Binder](https://mybinder.org/badge_logo.svg)]({binder})"]
    if notebook:
        links.insert(0, f"[![Open in Colab](https://colab.research.google.com/assets/colab-badge.svg)]({colab})")
        links.append(f"[![Open in Kaggle](https://kaggle.com/static/images/open-in-kaggle.svg)]({kaggle})")
    else:
        codespaces = f"https://codespaces.new/{repository}"
        links.append(f"[![Open in Codespaces](https://github.com/codespaces/badge.svg)]({codespaces})")
    return f"<!-- badges -->{' '.join(links)}<!-- /badges -->"


def address(root: Path) -> str:
    """The address as it stands in pyproject.toml; empty while it is not known."""
    return tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["diffgauss"]["repository"]


def ref(root: Path) -> str:
    """The tag that badges and setup cells point at: v and the project's version."""
    return "v" + tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def remote(root: Path) -> str | None:
    """owner/name of the git remote `origin`, where that is on GitHub."""
    command = ["git", "-C", str(root), "remote", "get-url", "origin"]
    url = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?$", url)
    return found.group(1) if found else None


if __name__ == "__main__":
    for path in stamp(ROOT, sys.argv[1] if len(sys.argv) > 1 else None):
        print(f"stamped {path.relative_to(ROOT)}")
    print(f"address: {address(ROOT) or 'not known yet: make address REPO=owner/name'}")
