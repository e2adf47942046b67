"""The first screen of RESULTS.md: three findings with a number and a picture each, and what else was learnt.

Numbers come from records and from what the executed notebooks print in their checks.
"""

import base64
import re
from pathlib import Path

import nbformat
from nbformat import NotebookNode

PICTURES = {
    "results-1.png": ("06", "Pictures from ten noises"),
    "results-2.png": ("07", "Two maps"),
    "results-3.png": ("06", "Left: the share"),
}
"""The pictures of the first screen, in docs/: the notebook that draws each, and how its alt text begins."""


def notebooks(folder: Path) -> list[tuple[Path, NotebookNode]]:
    """The notebooks of a folder, in order."""
    return [(path, nbformat.read(path, as_version=4)) for path in sorted(folder.glob("[0-9]*.ipynb"))]


def measured(folder: Path, number: str, check: str) -> float:
    """What a check of an executed notebook printed. Raises ValueError where there is none of that number."""
    for path, notebook in notebooks(folder):
        if path.name.startswith(number):
            for output in (o for cell in notebook.cells for o in cell.get("outputs", [])):
                if found := re.search(rf"(?m)^. {check}\. .*: (\S+) \(expected", output.get("text", "")):
                    return float(found[1])
    raise ValueError(f"notebook {number} prints no check {check}; needs its outputs")


def pictures(folder: Path) -> dict[str, tuple[bytes, str]]:
    """The pictures of the first screen, with their alt texts. Raises ValueError for one that no notebook drew."""
    found = {}
    for path, notebook in notebooks(folder):
        for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
            alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
            for name, (number, begins) in PICTURES.items():
                if path.name.startswith(number) and alt.startswith(begins):
                    found[name] = base64.b64decode(output["data"]["image/png"]), alt
    if missing := PICTURES.keys() - found:
        raise ValueError(f"no notebook has drawn {', '.join(sorted(missing))}; needs PICTURES to name its figures")
    return found


def headlines(folder: Path, record: dict, rows: dict[str, tuple[dict, Path]]) -> str:
    """The first screen: three findings, each with a verdict, one number, one picture and where it is measured."""
    if not record:
        return ""
    of = {c["id"]: c for c in record["claims"]}
    word = {"holds": "shown", "partly": "shown in part", "fails": "not shown"}
    s, x, f = (word[of[name]["verdict"]] for name in ("C11s", "C11x", "F3s"))
    all_clothes = word[rows["C11"][0]["verdict"]]
    bias = {"found": "shown", "excluded": "not shown", "undecided": "undecided"}[record["bias"]]
    low, high = record["pull"]["sneakers"]["pull"]["0.47"], record["pull"]["sneakers"]["pull"]["1.5"]
    a, b = ("{:.3f} [{:.3f}, {:.3f}]".format(*next(iter(pairs.values()))) for pairs in (low, high))
    drawn = {name: alt for name, (_, alt) in pictures(folder).items()}
    one, two, three = (f"![{alt}](docs/{name})" for name, alt in sorted(drawn.items()))
    ideal, pulled = (f"{measured(folder, '06', check):.2f}" for check in ("5a", "5c"))
    gauss, memory = (first_cosine(of["C11s"], which) for which in (0, 1))
    share, top = measured(folder, "07", "3"), measured(folder, "07", "3b")
    six, seven = "notebooks/06_gaussian_denoiser.ipynb", "notebooks/07_when_it_emerges.ipynb"
    return f"""Three findings come first. Criteria were written before the runs that they judge
([docs/claims.md](docs/claims.md) says what had been seen by then), and this page is written by `make results` from
what the executed notebooks computed.

**1. On one kind of image, the Gaussian denoiser predicts what a network will draw. Sneakers: {s}. X-rays: {x}.
Ten kinds of clothes: {all_clothes}.** From the same noises, the median cosine of the pictures of D_G and of a
network is {gauss}, that of a perfect memory {memory} (sneakers, first of three seeds). One Gaussian of ten kinds
draws mixtures of kinds. [Notebook 6, section 5]({six}).

{one}

**2. Networks of few images are near the Gaussian before they copy: {f}.** With 64 sneakers the pictures come
nearest to those of D_G after {share:.1%} of the training (R² at most {top}), with no copies; at the end nearly all
are copies. From 64 images on every path of training comes down to about the loss of D_G: with few
images it turns to the memory, with many it goes on to a better denoiser.
[Notebook 7, sections 2 and 3]({seven}).

{two}

**3. A bias towards the Gaussian beyond what the data ask: {bias}, and small.** Two networks of the same sneakers
go {a} of the way from D_G to the ideal denoiser (their share a) at σ = .470, and {b} at 1.50 (95 % intervals
over images; three pairs of networks agree). Other images agree at .470 (.86 to .97) and,
but for X-rays, at 1.50; at .117 errors that both networks share raise it above one on X-rays and colour, and at
4.07 sneakers do not differ from one. Controls: {ideal} for an ideal denoiser, {pulled} for one that is pulled
half-way
and has errors. [Notebook 6, section 8]({six}).

{three}

"""


def first_cosine(claim: dict, which: int = 0) -> str:
    """The first seed's cosine with its interval, of D_G (0) or D_M (1), from the words of C11s or C11x."""
    return re.findall(r"-?\d\.\d+ \[[^\]]+\]", claim["ours"])[which]


def insights(folder: Path, record: dict, nulls: dict[str, dict]) -> str:
    """What else was learnt: one sentence and one number each. nulls: the record of experiments/nulls.py."""
    if not record:
        return ""
    ratios = {k: [m / p for of in v.values() for m, p in of.values()] for k, v in record["skill"].items()}
    far = max(ratios["colour"])
    grey = max(r for kind, of in ratios.items() if kind != "colour" for r in of)
    of = {c["id"]: c for c in record["claims"]}
    quotients = re.findall(r"\d\.\d+ / \d\.\d+", of["C6se"]["ours"])  # six pairs at .470, then six at .117
    at_470, at_117 = quotients[0], quotients[6]
    largest = max(e[2] for part in record["pull"].values() for of in part["excess"].values() for e in of.values())
    passed = ", ".join(
        sorted(
            (name for name, found in nulls.items() if found.get("mixture", ("", False))[1]),
            key=lambda c: int(re.sub(r"\D", "", c)),
        )
    )
    apart, matrix = (measured(folder, "06", check) for check in ("1a", "1b"))
    return f"""## What else was learnt

- **The nearest matrix proves nothing.** For any data, the best matrix of the ideal denoiser is that of D_G (tower
  property). At σ = 1.5 ten Gaussians are {apart:.2f} from D_G, their matrix less than {matrix:.3f} from that
  of D_G.
  So C4, C5 and C14 say nothing about being Gaussian. Notebook 6, section 1.
- **A denoiser that is not Gaussian meets the criteria too.** Ten Gaussians, which no training made, meet what was
  tested of {passed} in the network's place (the table below says which parts). So none of these shows a bias; the
  share a can.
- **Skill predicts the distance.** How far a network is from D_G follows from the share q of D_G's error that
  *another* network removes, within a factor of {grey:.2f} on grey images (colour at .470: {far:.1f}). Ten kinds of
  clothes leave more to gain over mean and covariance than one kind, which is part of the reason why the finding
  fails there: at equal held-out
  loss sneakers are still ahead. Notebook 6, sections 4 and 6.
- **c\\* cannot exclude a bias.** The excess c* of one network is at most {largest:.2f} for
  every network here, as errors alone would make it.
- **Which Gaussian?** A network of all clothes that is distilled on shoes has the matrix of shoes at low
  noise and that of all clothes at high noise. Notebook 5, section 6.
- **Training is a confounder.** Networks at about the loss of D_G are nearest to it, whatever they become. At equal
  held-out loss D_M is {at_470} times as far as D_G from networks of sneakers and of ten classes at σ = .470, and
  {at_117} times at .117 (C6se).

"""
