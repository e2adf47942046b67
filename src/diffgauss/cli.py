"""The command line: ``diffgauss tour``, ``diffgauss zoo list``, ``train``, ``verify``, ``score``, ``index``, and
``diffgauss data list``, ``fetch``, ``verify``.

Exit status: 0 done; 1 bad input, a damaged file or a check that failed, with one line on stderr; 2 a wrong option;
130 stopped by Ctrl-C or SIGTERM, with what was done kept; 134 ended by JAX, others being lost.
"""

import json
import os
import sys
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import jax
import typer
from typer.core import TyperGroup

from diffgauss import files, zoo
from diffgauss.data import store
from diffgauss.zoo import runs
from diffgauss.zoo.processes import Peers

FAULTS = (ValueError, TypeError, KeyError, OSError, ArithmeticError, MemoryError, ImportError, RuntimeError)


class Guarded(TyperGroup):
    """Every command inside one guard: what it raises for bad input is one line on stderr, not a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command. Raises typer.Exit with the status that the module's text names."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, *FAULTS) as error:
            if isinstance(error, typer.Exit | typer.Abort):  # a RuntimeError, for Click's own use
                raise
            typer.echo(said(error), err=True)
            raise typer.Exit(status(error)) from error


def said(error: BaseException) -> str:
    """The line about what a command raised."""
    if isinstance(error, KeyboardInterrupt):
        return f"diffgauss: {printable(str(error) or 'stopped')}; the same command goes on"
    return f"diffgauss: {printable(str(error) or type(error).__name__)}"


def status(error: BaseException) -> int:
    """The exit status after it."""
    return 130 if isinstance(error, KeyboardInterrupt) else 1


def printable(text: str) -> str:
    """The text in one line, with what would move the cursor or cannot be encoded (in names of files) spelt out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in " ".join(text.split()))


app = typer.Typer(cls=Guarded, no_args_is_help=True, add_completion=False)
shelf = typer.Typer(no_args_is_help=True, help="The zoo: networks trained once, shipped with their snapshots.")
app.add_typer(shelf, name="zoo")
stock = typer.Typer(no_args_is_help=True, help="Images and weights: which are here, and how to get the others.")
app.add_typer(stock, name="data")

SHIPPED = runs.folder()
COLUMNS = (
    "run",
    "images",
    "width",
    "seed",
    "steps",
    "loss",
    "q",
    "c\\*",
    "p",
    "R² D_G",
    "R² D_M",
    "GL",
    "copies",
    "hours",
)
SIGMAS = {"skill": 2, "excess": 2, "position": 1}  # which of a score's levels, 4.07, 1.50, .470, .117, is shown


@app.command("tour")
def show_around(
    images: Annotated[str, typer.Argument(help="A folder, .npy, .npz or tar file, or a name that dg.load takes.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    size: Annotated[
        int | None, typer.Option(help="Side to crop and resize to; by default 32 for pictures in files.")
    ] = None,
    grey: Annotated[bool | None, typer.Option("--grey/--colour", help="By default colour if there is any.")] = None,
    minutes: Annotated[float, typer.Option(help="How long the network is trained.")] = 3.0,
    steps: Annotated[int | None, typer.Option(help="How many steps, instead of minutes.")] = None,
    seed: Annotated[int, typer.Option(help="Of everything random.")] = 0,
    model: Annotated[
        Path | None, typer.Option(help="A folder that diffusers saved: its network instead of one trained here.")
    ] = None,
    label: Annotated[int | None, typer.Option(help="The class, for a model that has classes.")] = None,
) -> None:
    """The whole analysis on your own images: one page of figures and numbers.

    Mean and covariance, D_M and D_G, a small network, its linear map on held-out images, and how the four compare.
    After a stop the same command goes on.
    """
    from diffgauss import tour  # here, because no other command draws: matplotlib alone takes half a second

    tour.run(
        images, out, size=size, grey=grey, minutes=minutes, steps=steps, seed=seed, model=model, label=label,
        say=typer.echo,
    )  # fmt: skip


def table(records: dict) -> str:
    """The runs in a Markdown table, with dashes for what is not in the records. Raises ValueError for odd ones."""
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for name, run in zoo.entries().items():
        try:
            rows.append(_row(name, run, records.get(name)))
        except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise ValueError(f"zoo.json says odd things of {name} ({error!r}); needs it as written") from error
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(name: str, run: runs.Run, found: dict | None) -> tuple[str, ...]:
    of = {"cifar10": "CIFAR-10", "pneumoniamnist": "X-rays"}.get(run.dataset, ", ".join(run.classes or ()))
    of = "upper body" if len(run.classes or ()) > 1 else of
    seen = f"{run.n}{', part ' + str(run.part + 1) if run.part else ''}{', ' + of if of else ''}"
    last = found["scores"][str(run.steps)] if found else {}
    wanted = [last.get("loss_ratio")]
    wanted += [last[key][i][0] if key in last else None for key, i in SIGMAS.items()]
    wanted += [last["r2"][E][0] if "r2" in last else None for E in ("D_G", "D_M")]
    wanted += [last.get("GL"), last.get("memorized")]
    values = ["–" if value is None else f"{value:.3f}" for value in wanted]
    hours = f"{found['seconds'] / 3600:.2f}" if found else "–"
    return (name, seen, *map(str, (run.width, run.seed, run.steps)), *values, hours)


@shelf.command("list")
def show() -> None:
    """Every run, with the scores of those that are shipped."""
    typer.echo(table(zoo.shipped()))


@shelf.command()
def train(
    name: Annotated[str, typer.Argument(help="One of `diffgauss zoo list`.")],
    into: Annotated[
        Path, typer.Option(help="Folder for the checkpoint and for the state of an unfinished run.")
    ] = Path("runs"),
    steps: Annotated[
        int | None, typer.Option(help="Stop after so many steps; the same command goes on later.")
    ] = None,
    save_every: Annotated[float, typer.Option(help="Seconds between two writes of the state.")] = 30.0,
    coordinator: Annotated[
        str | None,
        typer.Option(help="HOST:PORT of the first of several processes; auto on a TPU pod or under SLURM."),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="How many there are.")] = None,
    process: Annotated[int | None, typer.Option(help="Which one this is, from 0.")] = None,
    wait: Annotated[int, typer.Option(help="Seconds that the others may take to come.")] = 300,
) -> None:
    """Train a run, or go on with it after a stop or a kill.

    All devices of all processes share each batch; the processes share the folder, and the first one writes. Where
    one is lost all end, and the same commands go on.
    """
    if coordinator is None:
        if (processes, process) != (None, None):
            raise typer.BadParameter("--processes and --process need --coordinator, HOST:PORT of the first one")
        typer.echo(zoo.train(name, into, steps=steps, save_every=save_every))
        return
    runs.run(name)  # raises for an unknown one, before the others are waited for
    with Peers(coordinator, processes, process, wait).joined():
        try:
            typer.echo(zoo.train(name, into, steps=steps, save_every=save_every))
        except (KeyboardInterrupt, *FAULTS) as error:
            lost = "; if another process was lost, the same commands go on from what was saved last"
            typer.echo(said(error) + lost * isinstance(error, RuntimeError), err=True)
            sys.stderr.flush()
            os._exit(status(error))  # the usual end waits for the others


@shelf.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="A run whose first steps are trained again.")] = None,
    steps: Annotated[int, typer.Option(help="How many of them.")] = 64,
    tol: Annotated[float, typer.Option(help="Largest relative difference of a loss.")] = 1e-2,
) -> None:
    """Check all shipped files against zoo.json; with a name, also its first losses against a new training."""
    found, recorded = {}, zoo.shipped()
    for folder in (store.cache(), *reversed(store.folders())):  # the first has the last word, as when they are read
        found |= zoo.index(folder / "zoo")
    due = found.keys() | (recorded.keys() if store.HOME != store.PACKAGE else set())  # a checkout has them all
    if odd := sorted(n for n in due if found.get(n) != recorded.get(n)):
        typer.echo(f"zoo.json differs from the files of {', '.join(odd)}; needs `diffgauss zoo index`", err=True)
        raise typer.Exit(1)
    typer.echo(f"{len(found)} of {len(zoo.entries())} runs are here, and zoo.json agrees with their files")
    if name is not None:
        error = zoo.verify(name, steps=steps, progress=True)
        typer.echo(f"{name}: largest relative difference of {steps} losses {error:.1e}; needs ≤ {tol:g}")
        if not error <= tol:
            raise typer.Exit(1)


@shelf.command()
def score(names: Annotated[list[str], typer.Argument(help="Shipped runs.")]) -> None:
    """Measure the scores of each snapshot that a run's file does not hold, and write them to zoo.json."""
    for name in names:
        found = zoo.score(name)
        with files.lock(SHIPPED / "zoo.json"):
            records = zoo.shipped()  # read again: another process may have written meanwhile
            for step, scores in found.items():
                records[name]["scores"][step] = scores | records[name]["scores"][step]
            _write(SHIPPED, records)


def _write(where: Path, records: dict) -> None:
    files.write(where / "zoo.json", json.dumps(records, indent=1, ensure_ascii=False) + "\n")
    page = where / "README.md"
    words = page.read_text(encoding="utf-8").partition(f"| {COLUMNS[0]} |")[0] if page.exists() else "# Runs\n\n"
    files.write(page, f"{words}{table(records)}\n")


@shelf.command()
def index(where: Annotated[Path, typer.Argument(help="A folder of finished runs.")] = SHIPPED) -> None:
    """Write zoo.json, and the table in README.md, from a folder's checkpoints; in a checkout checksums too."""
    with files.lock(where / "zoo.json"):
        records = zoo.index(where)
        _write(where, records)
    if where.resolve() == SHIPPED.resolve():
        store.index(where.parent)
    typer.echo(f"{len(records)} runs in {where}")


@stock.command("list")
def show_stock() -> None:
    """Every data set and network: its size, and where its files are."""
    listed = store.registry()
    for name, paths in store.names().items():
        places = {str(here.parent) if (here := store.find(path)) else "not here" for path in paths}
        typer.echo(f"{name:20} {sum(listed[p][1] for p in paths) / 1e6:6.1f} MB  {', '.join(sorted(places))}")


@stock.command()
def fetch(
    wanted: Annotated[list[str] | None, typer.Argument(help="Of `diffgauss data list`.", metavar="NAME")] = None,
    all_of: Annotated[bool, typer.Option("--all", help="Everything.")] = False,
    into: Annotated[
        Path | None, typer.Option(help="Folder to fill, for DIFFGAUSS_DATA; without it the user's cache.")
    ] = None,
) -> None:
    """Put images and weights into a folder: copied where they are on this machine, else downloaded and checked."""
    if bool(wanted) == all_of:
        raise typer.BadParameter("needs one or more names, or --all")
    for name, paths in store.chosen(wanted).items():
        found = [store.fetch(path, into) if into else store.path(path) for path in paths]
        typer.echo(f"{name}: {', '.join(sorted({str(file.parent) for file in found}))}")


@stock.command("verify")
def verify_stock() -> None:
    """Check all images and weights that are here against the checksums."""
    listed = store.registry()
    here = {path: found for path in listed if (found := store.find(path))}
    odd = [str(found) for path, found in here.items() if not store.whole(found, path)] + store.unlisted()
    if odd:
        typer.echo(f"{', '.join(odd)}: not the files of the checksums; needs them anew", err=True)
        raise typer.Exit(1)
    typer.echo(f"{len(here)} of {len(listed)} files are here, and all have their checksums")


def _version(wanted: bool | None) -> None:
    if wanted:
        typer.echo(
            f"diffgauss {metadata.version('diffgauss')}, jax {jax.__version__}, Python {sys.version.split()[0]}"
        )
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool | None, typer.Option("--version", callback=_version, is_eager=True, help="Print the versions and end.")
    ] = None,
) -> None:
    """Diffusion models and their Gaussian bias."""


def main() -> None:
    """The command ``diffgauss``. What a terminal cannot show is replaced by a question mark."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    app()
