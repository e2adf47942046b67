"""The command line: ``diffgauss tour``, and ``diffgauss zoo list``, ``train``, ``verify`` and ``index``."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import jax
import typer

from diffgauss import tour, zoo

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Diffusion models and their Gaussian bias.")
shelf = typer.Typer(no_args_is_help=True, help="The zoo: networks trained once, shipped with their snapshots.")
app.add_typer(shelf, name="zoo")

SHIPPED = zoo.folder()
README = """# The zoo

Networks trained once, because a class cannot wait for them. `dg.zoo.load(name, step=None)` gives the averaged
weights, `dg.zoo.data(name)` the images they were trained on; `diffgauss zoo train NAME` makes a run again.
`zoo.json` holds all settings, the scores of each snapshot, loss curves, processor, versions and SHA-256.
`diffgauss zoo index` writes this page and zoo.json. Scores are those of the last snapshot; the loss is equation 3
with EDM's weights. `n60000-small`, a larger net at full resolution, is for a GPU or TPU and has not been trained.
`n60000-resnet` is purely convolutional, at full resolution and without normalisation (`dg.ResNet`).
The `cifar` networks saw CIFAR-10, whose images are not here: `dg.load("cifar10")` gets them from elsewhere. They
were trained on a copy that had been re-encoded as JPEG, in the order of its names; with another copy or order,
`diffgauss zoo verify` finds other losses.
Losses are means over the same 1024 images, levels and noises for all networks that share images: compare rows. Test
images of CIFAR-10 come by class, and the first 1024 are nearly all airplanes, which are easier than most.
Hours are of the clock, on one processor core or two that other work shared.

{table}
"""
COLUMNS = ("run", "images", "width", "seed", "steps", "training loss", "test loss", "GL", "memorized", "hours")


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
) -> None:
    """The whole analysis on your own images: one page of figures and numbers.

    Mean and covariance, D_M and D_G, a small network, its linear map, and how the four compare. After a stop the
    same command goes on.
    """
    with _errors():
        tour.run(images, out, size=size, grey=grey, minutes=minutes, steps=steps, seed=seed, say=typer.echo)


def table(records: dict) -> str:
    """The runs in a Markdown table, with dashes for those that are not in the records."""
    rows = [COLUMNS, ("---",) * len(COLUMNS)]
    for name, run in zoo.entries().items():
        seen = f"{run.n}{', the next ones' if run.other else ''}{', upper body' if run.classes else ''}"
        seen += ", CIFAR-10" if run.dataset == "cifar10" else ""
        found = records.get(name)
        last = found["scores"][str(run.steps)] if found else {}
        values = [f"{last[k]:.3f}" if last else "–" for k in ("train", "test", "GL", "memorized")]
        hours = f"{found['seconds'] / 3600:.2f}" if found else "–"
        rows.append((name, seen, *map(str, (run.width, run.seed, run.steps)), *values, hours))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


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
) -> None:
    """Train a run, or go on with it after a stop or a kill.

    All devices of all processes share each batch; the processes share the folder, and the first one writes.
    """
    with _errors():
        if coordinator is not None:
            jax.distributed.initialize(None if coordinator == "auto" else coordinator, processes, process)
        path = zoo.train(name, into, steps=steps, save_every=save_every)
    typer.echo(path)


@shelf.command()
def verify(
    name: Annotated[str | None, typer.Argument(help="A run whose first steps are trained again.")] = None,
    steps: Annotated[int, typer.Option(help="How many of them.")] = 64,
    tol: Annotated[float, typer.Option(help="Largest relative difference of a loss.")] = 1e-2,
) -> None:
    """Check all shipped files against zoo.json; with a name, also its first losses against a new training."""
    with _errors():
        found, recorded = zoo.index(zoo.folder()), zoo.shipped()
        if odd := sorted(n for n in found.keys() | recorded.keys() if found.get(n) != recorded.get(n)):
            typer.echo(
                f"zoo.json differs from the files of {', '.join(odd)}; needs `diffgauss zoo index`", err=True
            )
            raise typer.Exit(1)
        typer.echo(f"{len(found)} of {len(zoo.entries())} runs are here, and zoo.json agrees with their files")
        if name is not None:
            error = zoo.verify(name, steps=steps, progress=True)
            typer.echo(f"{name}: largest relative difference of {steps} losses {error:.1e}; needs ≤ {tol:g}")
            if not error <= tol:
                raise typer.Exit(1)


@shelf.command()
def index(where: Annotated[Path, typer.Argument(help="A folder of finished runs.")] = SHIPPED) -> None:
    """Write zoo.json and README.md from the checkpoints in a folder."""
    with _errors():
        records = zoo.index(where)
        (where / "zoo.json").write_text(json.dumps(records, indent=1, ensure_ascii=False) + "\n")
        (where / "README.md").write_text(README.format(table=table(records)))
    typer.echo(f"{len(records)} runs in {where}")


@contextmanager
def _errors() -> Iterator[None]:
    """Bad input is one line on stderr and exit status 1, not a traceback."""
    try:
        yield
    except (ValueError, OSError, FloatingPointError, ModuleNotFoundError) as error:
        typer.echo(f"diffgauss: {error}", err=True)
        raise typer.Exit(1) from error
