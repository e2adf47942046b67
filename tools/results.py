"""Write RESULTS.md from what the executed notebooks computed: every claim, its verdict, and the paper's figures.

python tools/results.py
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path

from front import headlines, insights, notebooks, pictures
from nbformat import NotebookNode

from diffgauss import files
from diffgauss.notebook import lesson
from diffgauss.notebook.lesson import CLAIMS

ROOT = Path(__file__).resolve().parents[1]
FIGURES = [f"F{n}" for n in (*range(1, 10), 12, 13, 14, 15, 17, 28, 29, 30)]
"""The figures of Li et al. (2024) that have a counterpart here."""

SCALE = """## What was not shown

Everything here is about grey images of 28×28 pixels (Fashion-MNIST, chest X-rays) and, where it says so, natural
colour images of 32×32 (CIFAR-10, a copy re-encoded as JPEG), and about networks of 3·10⁵ weights (2·10⁴ to 1.4·10⁶
where the width is varied; 1.3·10⁵ for the ResNet). No higher resolution has been tried; the paper works at 64×64×3,
with nets of 10⁷ weights and more. Verdicts apply to this scale only.

"""


def claims(notebook: NotebookNode) -> Iterator[dict]:
    """The rows of the ledger that the notebook computed."""
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            yield from output.get("data", {}).get(CLAIMS, [])


def figures(notebook: NotebookNode) -> Iterator[tuple[str, str]]:
    """(figure of the paper, the section with its counterpart) for each figure that names one."""
    section = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown" and (found := re.search(r"(?m)^## (.+)$", cell.source)):
            section = found[1]
        for output in cell.get("outputs", []):
            for name in output.get("metadata", {}).get("image/png", {}).get("paper", "").split():
                yield name, section


def reworded(notebook: NotebookNode) -> list[str]:
    """The claims whose words in the executed ledger are not those of the list: the notebook needs another run."""
    listed = lesson.listed()
    words = {name: (c.claim, c.paper, c.rule) for name, c in listed.items()}
    return [c["id"] for c in claims(notebook) if words.get(c["id"]) != (c["claim"], c["paper"], c["criterion"])]


def render(folder: Path) -> str:
    """The page. Raises ValueError where a claim of the list or a figure of the paper has no counterpart.

    What was found is read from the notebooks; the claim, the paper's number and the criterion from the list.
    """
    listed, (coloured, note), kinds = lesson.listed(), colour(), one_kind()
    apart = coloured | {c["id"]: c for c in kinds.get("claims", [])}
    rows: dict[str, tuple[dict, Path]] = {}
    places: dict[str, list[str]] = {}
    for path, notebook in notebooks(folder):
        rows |= {claim["id"]: (claim, path) for claim in claims(notebook)}
        for name, section in figures(notebook):
            place = f"[{path.stem[:2]}](notebooks/{path.name}): {section}"
            if place not in places.setdefault(name, []):
                places[name].append(place)
    if unknown := [name for name in (*rows, *apart) if name not in listed]:
        raise ValueError(f"claims.toml has no {', '.join(unknown)}; needs every claim that a notebook judges")
    rows = {name: row for name, row in rows.items() if name not in apart}
    promised = [name for name, c in listed.items() if c.judged and name not in rows | apart]
    if missing := promised + [f for f in FIGURES if f not in places]:
        raise ValueError(f"no notebook has {', '.join(missing)}; needs every claim and figure")
    verdicts = {name.removesuffix(" colour"): claim["verdict"] for name, claim in coloured.items()}
    parts = (
        headlines(folder, kinds, rows),
        insights(folder, kinds, null_record()),
        SCALE,
        shortfalls(rows),
        table(rows, verdicts),
        null_denoisers(),
        recorded("On natural colour images", note, coloured, ON_COLOUR),
        on_one_kind(kinds),
        unjudged(),
        counterparts(places),
    )
    return "# Results\n\n" + "".join(parts)


ON_COLOUR = (
    "The column is made again by `DIFFGAUSS_CIFAR10=FOLDER python experiments/cifar10.py`, from any copy of the "
    "images."
)
BY_RECORD = (
    "The rows are made again by `python experiments/one_kind.py` and `experiments/levels.py`; those of X-rays need "
    "`DIFFGAUSS_PNEUMONIAMNIST`, those of colour `DIFFGAUSS_CIFAR10`."
)
ONE_KIND = (
    "Networks of sneakers alone (three seeds of each), of T-shirts and of chest X-rays (two). The unit is a "
    "network: a claim holds if it holds for every seed. Rows that end in “e” compare networks of equal held-out "
    "loss, because a network that has learnt little is near D_G whatever it would become."
)

BIAS = {
    "found": "all three pairs of sneakers are below 1 at both levels, with their whole intervals",
    "excluded": "all three pairs of sneakers are at or above .98 at both levels, with their whole intervals",
    "undecided": "the whole intervals of the pairs of sneakers are neither all below 1 nor all at or above .98",
}


def marked(name: str, verdict: str) -> str:
    """The verdict in bold, with what the list of claims says against it."""
    caution = lesson.listed()[name].caution
    return f"**{verdict}**" + (f" ({caution})" if caution else "")


def null_record() -> dict[str, dict]:
    """What experiments/nulls.py found, by claim and null denoiser; empty where there is no record."""
    path = ROOT / "data" / "results" / "nulls.json"
    return json.loads(path.read_text(encoding="utf-8"))["claims"] if path.exists() else {}


def meet(name: str) -> str:
    """The null denoisers that meet the claim's criterion in a network's place."""
    found = null_record().get(name)
    if not found:
        return "–"
    return ", ".join(null for null, (_, passes) in found.items() if passes) or "none"


def null_denoisers() -> str:
    """What denoisers that no training made score by the same criteria."""
    found = null_record()
    if not found:
        return ""
    lines = [("id", "denoiser", "measured", "meets the criterion"), ("---",) * 4]
    lines += [
        (name, null, text, "yes" if passes else "no")
        for name, of in found.items()
        for null, (text, passes) in of.items()
    ]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""## Null denoisers

D_G, ten Gaussians (one a class) and D_M of the same images take the network's place, written by
`python experiments/nulls.py`. A criterion that they meet does not by itself say
anything about networks. Parts that are not tested here: sets of 64 (C2), raw scores and deviations (C3), singular
vectors and values (C5, C14), D_L (C11) and the level 42.4 (C13).

{body}

"""


def one_kind() -> dict:
    """The record of experiments/one_kind.py, empty where there is none."""
    path = ROOT / "data" / "results" / "one_kind.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def on_one_kind(record: dict) -> str:
    """The rows on one kind of image, the larger network, and the pull of pairs of seeds with its verdict."""
    if not record:
        return ""
    rows = {c["id"]: c for c in record["claims"]}
    return (
        recorded("On one kind of image", ONE_KIND, rows, BY_RECORD)
        + over_networks(record["networks"])
        + larger(record["flagship"])
        + bias_or_data(record)
    )


def over_networks(part: dict) -> str:
    """GL, p and the least linearity of the sneakers' networks, with intervals over three networks each."""
    head = ("networks", *next(iter(part.values())))
    lines = [head, ("---",) * len(head)]
    lines += [
        (name, *("{:.3f} [{:.3f}, {:.3f}]".format(*v) for v in measures.values()))
        for name, measures in part.items()
    ]
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"""### Over networks

Each row is the mean of three networks with Student's interval of 95 % over them. With two degrees of freedom it
reaches 2.5 standard deviations to each side, so rows whose intervals overlap may still differ.

{body}

"""


def larger(part: dict) -> str:
    """FL1 and FL2: the held-out loss and the spectrum of the samples of n60000-small."""
    loss, of = part["loss over D_G's"], part["spectrum"]
    worst = {name: max(abs(v - 1) for kind in both.values() for v in kind) for name, both in of.items()}
    slopes = ", ".join(f"{of['n60000'][0]:.2f} at σ = {s}" for s, of in part["slope"].items())
    found = [("FL1", loss <= 0.72), ("FL2", worst["n60000-small"] <= 0.2)]
    verdicts = " and ".join(f"{name} **{'holds' if good else 'fails'}**" for name, good in found)
    off, small = (f"{worst[name]:.0%}" for name in ("n60000-small", "n60000"))
    return f"""## The larger network

{verdicts} (docs/claims.md, “The larger network”). `n60000-small`, 1.4 million weights at full resolution,
has {loss:.3f} of the held-out loss of D_G (criterion .72). The power spectrum of its samples is within {off} of
that of held-out images at every frequency from 1 to 14 cycles an image (criterion 20 %). The spectrum does not tell
it from the small network `n60000`, whose samples are within {small}. The small network goes part of the way that
the larger one goes from D_G: the slope of D_θ − D_G of the one on that of the other is {slopes}.

"""


def bias_or_data(record: dict) -> str:
    """Whether networks are Gaussian beyond what their data ask: the pull of pairs of seeds, and its verdict."""
    lines = []
    for kind, part in record["pull"].items():
        for pair in part["pull"]["1.5"]:
            shown = ["{:.3f} [{:.3f}, {:.3f}]".format(*part["pull"][s][pair]) for s in ("1.5", "0.47")]
            lines.append(f"| {kind} | {pair} | {' | '.join(shown)} |")
    rows = "\n".join(lines)
    return f"""## Bias or data?

A good denoiser of *any* data has the Gaussian denoiser as its best linear map, so a linear map near D_G is
no evidence of a bias by itself. The pull a of two networks of the same images can tell: it is 1 where both have
gone as far from D_G as the images ask, and below 1 where both stay too near (equation 34, held-out images,
95 % intervals over images). By the criterion written before the networks of sneakers were trained,
a bias is **{record["bias"]}**: {BIAS[record["bias"]]}. The three pairs share members.

| images | two networks | a at σ = 1.50 | a at σ = .470 |
| --- | --- | --- | --- |
{rows}

"""


def unjudged() -> str:
    """The claims whose criteria are written and whose networks are still in training."""
    later = [c for c in lesson.listed().values() if not c.judged]
    lines = "".join(f"- {c.id}: {c.claim}\n" for c in later)
    sections = ", ".join(f"“{name}”" for name in dict.fromkeys(c.section for c in later))
    note = f"Their criteria are in docs/claims.md, {sections}; the networks are in training."
    return f"## Not yet judged\n\n{note}\n\n{lines}\n" if lines else ""


def colour() -> tuple[dict[str, dict], str]:
    """The claims on colour images, by id ("C2 colour"), and how to read them: of experiments/cifar10.py."""
    record = json.loads((ROOT / "data" / "results" / "cifar10.json").read_text(encoding="utf-8"))
    return {claim["id"]: claim for claim in record["claims"]}, record["caution"]


def recorded(title: str, note: str, claims: dict[str, dict], command: str) -> str:
    """The rows that a record has and no notebook makes, and why some do not hold."""
    head = ("id", "claim", "paper", "ours", "criterion", "verdict", "difference in scale")
    lines = [head, ("---",) * len(head)]
    for name, c in claims.items():
        said, found = lesson.listed()[name], marked(name, c["verdict"])
        lines.append((name, said.claim, said.paper, c["ours"], said.rule, found, c["scale"]))
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    short = "".join(f"- **{c['id']} {c['verdict']}**: {c['why']}.\n" for c in claims.values() if c["why"])
    written = f"The criteria were written before the results. {command}"
    return f"## {title}\n\n{note}\n\n{short}\n{body}\n\n{written}\n\n"


def shortfalls(rows: dict[str, tuple[dict, Path]]) -> str:
    """What does not hold, or only in part, and why: first, not last."""
    said = {name: c.claim for name, c in lesson.listed().items()}
    lines = [
        f"- **{name} {c['verdict']}** ({said[name]}): {c['why']}." for name, (c, _) in rows.items() if c["why"]
    ]
    good = sum(c["verdict"] == "holds" for c, _ in rows.values())
    text = "\n".join(lines) if lines else "Nothing."
    return f"## What does not hold, or only in part\n\n{text}\n\nThe other {good} of {len(rows)} claims hold.\n\n"


def table(rows: dict[str, tuple[dict, Path]], on_colour: dict[str, str]) -> str:
    """All claims, in the order of the list: C of the paper, then B of later work."""
    head = (
        "id", "claim", "paper", "ours", "criterion", "verdict", "on colour", "null denoisers that meet it",
        "difference in scale", "notebook",
    )  # fmt: skip
    lines = [head, ("---",) * len(head)]
    for name, said in lesson.listed().items():
        if name in rows:
            c, path = rows[name]
            link = f"[{path.stem[:2]}](notebooks/{path.name})"
            found, other = marked(name, c["verdict"]), on_colour.get(name, "–")
            words = (name, said.claim, said.paper, c["ours"], said.rule, found, other, meet(name), c["scale"], link)
            lines.append(words)
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    command = "python tools/execute.py --out build notebooks/NAME.ipynb"
    return (
        f"## All claims\n\n{body}\n\nA row is made again by `{command}`, with the notebook of its last column.\n\n"
    )


def counterparts(places: dict[str, list[str]]) -> str:
    """Where each figure of the paper has its counterpart."""
    lines = "\n".join(f"| {name} | {'; '.join(places[name])} |" for name in FIGURES)
    note = "A counterpart asks the same question of our data; it does not copy the figure."
    return f"## Figures of the paper\n\n{note}\n\n| figure | notebook: section |\n| --- | --- |\n{lines}\n"


if __name__ == "__main__":
    page = render(ROOT / "notebooks")
    files.write(ROOT / "RESULTS.md", page)
    for name, (picture, _) in pictures(ROOT / "notebooks").items():
        files.write(ROOT / "docs" / name, picture)
    for path, notebook in notebooks(ROOT / "notebooks"):
        if names := reworded(notebook):
            print(f"{path.name}: the words of {', '.join(names)} are not those of claims.toml; needs another run")
    print(f"RESULTS.md: {page.count('| **holds**')} claims hold, on grey or on colour images")
