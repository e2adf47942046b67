"""Attacks of seven kinds: kills, damage, edits of records, full disks, races, hostile archives, hostile names.

`make test` runs a few of each; `make attack` runs many, with another seed if SEED says so, and writes their counts
to docs/attacks.md. A failure is any answer but the right one, a ValueError or an OSError; anything torn, lost or
written elsewhere; more than 20 s, or more memory than was allowed.
"""

import io
import json
import os
import random
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from typer.testing import CliRunner

import diffgauss as dg
from diffgauss import cli, files
from diffgauss.zoo import checkpoint, runs
from diffgauss.zoo.resumable import resume

ROOT = Path(__file__).resolve().parents[2]
MANY = "ATTACK" in os.environ
SEED = int(os.environ.get("SEED", "0"))
COUNTS: Counter[str] = Counter()
pytestmark = [pytest.mark.usefixtures("unchecked"), pytest.mark.slow]


def times(few: int, many: int) -> range:
    return range(many if MANY else few)


@pytest.fixture(scope="module", autouse=True)
def report(request) -> Iterator[None]:
    """The table of the counts, once all have passed."""
    failed = request.session.testsfailed
    yield
    if MANY and request.session.testsfailed == failed:
        rows = "\n".join(f"| {kind} | {n} | 0 |" for kind, n in COUNTS.items())
        head = "# Attacks\n\nWhat `make attack` last did (tests/attack); a failure would end it.\n\n"
        page = f"{head}| attack | tried | failures |\n|---|---|---|\n{rows}\n\nSeed {SEED}; {runs.processor()}.\n"
        (ROOT / "docs" / "attacks.md").write_text(page, encoding="utf-8")


def refused(call: Any, kind: str) -> Any:
    """The call's result, or None where it was refused in one line."""
    COUNTS[kind] += 1
    try:
        return call()
    except (ValueError, OSError) as error:
        said = str(error)
        assert said and "\n" not in said, said
        return None


TREE = {"a": np.arange(6.0, dtype=np.float32).reshape(2, 3), "b": [np.int32(7), np.ones((0, 2), np.float32)]}
FACTS = {"run": {"n": 3}, "step": 2, "seconds": 1.5}


def same(found: Any) -> bool:
    """Whether a checkpoint was read as it was written."""
    tree, facts = found
    return facts == FACTS and (np.asarray(tree["a"]) == TREE["a"]).all() and int(tree["b"][0]) == 7


def test_kills_of_a_training_leave_its_curve(tmp_path):
    """Killed at any moment and started again until it is done, it has the weights and losses of one left alone.

    One processor thread, so they agree to the last bit. The shipped run may come from another processor, whose
    rounding grows along the curve: its first 64 losses are met within 1 %, all means of 32 within 5 %.
    """
    rng, alone, killed, name = random.Random(SEED), tmp_path / "alone", tmp_path / "killed", "n64.state.safetensors"
    command = [sys.executable, "-m", "diffgauss", "zoo", "train", "n64", "--steps", "512", "--save-every", "0"]
    environment = os.environ | {"JAX_PLATFORMS": "cpu"}
    environment |= {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    subprocess.run([*command, "--into", alone], check=True, env=environment)

    def reached() -> int:
        return checkpoint.facts(killed / name)["step"] if (killed / name).exists() else 0

    for _ in times(3, 20):
        if reached() == 512:
            (killed / name).unlink()
        before, begun = reached(), time.monotonic()
        process = subprocess.Popen([*command, "--into", killed], env=environment)
        while process.poll() is None and reached() == before and time.monotonic() - begun < 100:
            time.sleep(0.05)
        assert reached() > before
        time.sleep(rng.uniform(0, 0.6))  # once it has moved on
        process.kill()
        assert process.wait() in (0, -signal.SIGKILL)
        COUNTS["kills of a training"] += process.returncode != 0
    assert COUNTS["kills of a training"] >= 2
    subprocess.run([*command, "--into", killed], check=True, env=environment)
    one, two = (load_file(folder / name) for folder in (alone, killed))
    assert one.keys() == two.keys() and all((one[key] == two[key]).all() for key in one)
    assert {key.split("'")[1] for key in one if key.startswith("['step")} == {f"step {2**k}" for k in range(5, 10)}
    losses, recorded = two["['losses']"], np.asarray(dg.zoo.losses("n64"))[:512]
    np.testing.assert_allclose(losses[:64], recorded[:64], rtol=1e-2)
    np.testing.assert_allclose(*(x.reshape(-1, 32).mean(1) for x in (losses, recorded)), rtol=5e-2)
    assert {p.name for p in killed.iterdir()} - {name} <= {f".{name[:4]}safetensors.lock"} | {
        p.name for p in killed.glob(".*.partial")
    }


def test_kills_of_a_writer_leave_a_whole_file(tmp_path):
    code = (
        "import sys\nfrom diffgauss import files\nk = 0\n"
        "while True:\n    files.write(sys.argv[1], bytes([k % 251]) * 300_000)\n    k += 1"
    )
    rng = random.Random(SEED)
    for _ in times(3, 60):
        process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "file"])
        while not (tmp_path / "file").exists():
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
        content = (tmp_path / "file").read_bytes()
        assert len(content) == 300_000 and len(set(content)) == 1
        COUNTS["kills of a writer"] += 1
        (tmp_path / "file").unlink()


def test_damage_of_a_checkpoint_is_noticed(tmp_path):
    path, rng = tmp_path / "x.safetensors", random.Random(SEED)
    checkpoint.save(path, TREE, **FACTS)
    whole = path.read_bytes()

    def read():
        return checkpoint.load(path, TREE), checkpoint.facts(path)

    assert same(read())
    places = range(len(whole)) if MANY else range(0, len(whole), 5)
    for place in places:
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        found = refused(read, "bytes of a checkpoint changed")
        assert found is None or same(found), place
    for end in places:
        path.write_bytes(whole[:end])
        assert refused(read, "checkpoints cut short") is None


ODD = (None, True, -1, 1e308, float("nan"), "x", "", [], {}, [[]], {"": None}, 10**400, "\x1b[2J")


def edited(found: Any, path: tuple = ()) -> Iterator[tuple[tuple, Any]]:
    """Each place of some JSON, of a list the first two."""
    if path:
        yield path, found
    items = found.items() if isinstance(found, dict) else enumerate(found[:2]) if isinstance(found, list) else ()
    for key, value in items:
        yield from edited(value, (*path, key))


def put(found: Any, path: tuple, value: Any) -> Any:
    """A copy with another value at the place; none at all for the value `...`."""
    found = json.loads(json.dumps(found))
    inside = found
    for key in path[:-1]:
        inside = inside[key]
    if value is ...:
        del inside[path[-1]]
    else:
        inside[path[-1]] = value
    return found


def test_edits_of_every_field_of_a_record_are_a_line(tmp_path, monkeypatch):
    """zoo.json with any field changed or left out: a table or one line, and never a traceback."""
    shipped = files.read_json(runs.folder() / "zoo.json")
    page, rng = tmp_path / "zoo.json", random.Random(SEED)
    monkeypatch.setattr(runs, "folder", lambda: tmp_path)
    names = ["n64-w4", "sneaker-n3000", "cifar-n50000"] if MANY else ["n64-w4"]
    call = CliRunner()
    for name in names:
        record = {name: shipped[name]}
        for place, _ in edited(record):
            values = (*ODD, ...) if MANY else rng.sample((*ODD, ...), 2)
            for value in values:
                page.write_text(json.dumps(put(record, place, value)), encoding="utf-8")
                said = call.invoke(cli.app, ["zoo", "list"])
                COUNTS["fields of zoo.json changed"] += 1
                assert said.exit_code in (0, 1), (place, value, said.output, said.exception)
                assert said.exit_code == 0 or said.output.count("\n") == 1, said.output
                assert "\x1b" not in said.output
    for text in ("", "null", "[]", "3", '{"n64":', "{" * 100_000, '{"n64": ' * 2000, "\ufeff{}", '"\\ud800"'):
        page.write_text(text, encoding="utf-8")
        said = call.invoke(cli.app, ["zoo", "list"])
        COUNTS["zoo.json in other forms"] += 1
        assert said.exit_code == 1 and said.output.count("\n") == 1, (text[:20], said.output)


def test_edits_of_a_result_and_of_the_facts_of_a_parked_run(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules["diffgauss.results"], "folder", lambda: tmp_path)
    for text in ("", "null", "[]", "3", "{", "[" * 100_000, "\ufeff{}"):
        (tmp_path / "x.json").write_text(text, encoding="utf-8")
        assert refused(lambda: dg.results("x"), "results in other forms") is None
    parked, config = tmp_path / "n16.state.safetensors", dg.TrainConfig(steps=32)
    state = dg.TrainState.start(jax.tree_util.Partial(lambda x, s: x), config)
    known = {"run": {"n": 16, "classes": [1], "rate": 0.1, "net": "tiny"}, "step": 32, "seconds": 1.5}
    for place, _ in edited(known):
        for value in (*ODD, ...):
            changed = put(known, place, value)
            if isinstance(value, float) and value != value or changed == known:
                continue
            checkpoint.save(parked, {"losses": np.zeros(32, np.float32)}, **changed)
            found = refused(
                lambda: resume(state, np.zeros((4, 2)), config, parked, of=known["run"], until=32),
                "facts of a parked run changed",
            )
            assert found is None, (place, value)


def test_full_disks_keep_the_old_file(tmp_path):
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(tmp_path)]
    if (said := subprocess.run(mount, capture_output=True)).returncode:
        pytest.skip(f"no small disk here: {said.stderr.decode()}")
    rng = random.Random(SEED)
    try:
        path = tmp_path / "x.safetensors"
        checkpoint.save(path, TREE, **FACTS)
        for _ in times(20, 400):
            (tmp_path / "filler").write_bytes(bytes(rng.randrange(110_000)))
            large = TREE | {"more": np.zeros(rng.randrange(30_000), np.float32)}
            if refused(lambda large=large: [checkpoint.save(path, large, **FACTS)], "writes to a full disk"):
                assert checkpoint.facts(path) == FACTS
                (tmp_path / "filler").unlink()
                path.unlink()
                checkpoint.save(path, TREE, **FACTS)
            assert same((checkpoint.load(path, TREE), checkpoint.facts(path)))
            assert {p.name for p in tmp_path.iterdir()} <= {"x.safetensors", "filler"}
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_races_of_four_processes(tmp_path):
    code = """
import sys, pathlib, numpy as np
from diffgauss.zoo import checkpoint
from diffgauss import files
path, own, n = pathlib.Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
for k in range(n):
    checkpoint.save(path, {"a": np.full(5000, own, np.float32)}, own=own)
    found = checkpoint.load(path, {"a": np.zeros(5000, np.float32)})["a"]
    assert (np.asarray(found) == found[0]).all()
    checkpoint.facts(path)
"""
    n = len(times(25, 400))
    many = [subprocess.Popen([sys.executable, "-c", code, tmp_path / "x", str(i), str(n)]) for i in range(4)]
    assert [process.wait(timeout=500) for process in many] == [0] * 4
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    COUNTS["saves and loads of one file by four processes"] += 8 * n


def png(size: tuple[int, int] = (8, 8)) -> bytes:
    out = io.BytesIO()
    Image.new("L", size, 90).save(out, "PNG")
    return out.getvalue()


NAMES = [
    "../out.png", "../../../../tmp/out.png", "/tmp/out.png", "a/../../out.png", "..\\out.png", "C:\\out.png",
    "a\x1b[2J.png", "a\nb.png", "\u202egnp.png", "é.png", "." * 200 + ".png", "a" * 250 + ".png",
    "test/../train/a.png", "train/a.png", "TEST/a.png", "%2e%2e/out.png", "a\x7f.png", "\ud7ff.png",
]  # fmt: skip


def archives(folder: Path, rng: random.Random) -> Iterator[Path]:
    """Archives that mean harm, or that nobody means."""
    for k, name in enumerate(NAMES):
        for form in ("tar", "tar.gz", "zip"):
            path = folder / f"name{k}.{form}"
            members = [(name, png()), *((f"{i}.png", png()) for i in range(3))]
            if form == "zip":
                with zipfile.ZipFile(path, "w") as file:
                    for inner, content in members:
                        file.writestr(inner, content)
            else:
                with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as file:
                    for inner, content in members:
                        info = tarfile.TarInfo(inner)
                        info.size = len(content)
                        file.addfile(info, io.BytesIO(content))
            yield path
    for kind, target in [
        (tarfile.SYMTYPE, "/etc/passwd"), (tarfile.LNKTYPE, "../x.png"), (tarfile.CHRTYPE, ""),
        (tarfile.SYMTYPE, "a.png"), (tarfile.BLKTYPE, ""), (tarfile.DIRTYPE, ""), (tarfile.FIFOTYPE, ""),
    ]:  # fmt: skip
        path = folder / f"kind{ord(kind)}{len(target)}.tar"
        with tarfile.open(path, "w") as file:
            info = tarfile.TarInfo("a.png")
            info.type, info.linkname = kind, target
            file.addfile(info)
            info = tarfile.TarInfo("b.png")
            info.size = len(png())
            file.addfile(info, io.BytesIO(png()))
        yield path
    huge = tarfile.TarInfo("a.png")
    huge.size = 10**12
    (folder / "sparse.tar").write_bytes(huge.tobuf() + bytes(1024))
    yield folder / "sparse.tar"
    for suffix, content in (("png", bytes(1 << 20)), ("npy", bytes(1 << 20))):
        with zipfile.ZipFile(folder / f"bomb-{suffix}.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
            for i in range(300):
                file.writestr(f"{i}.{suffix}", content)
        yield folder / f"bomb-{suffix}.zip"
    with zipfile.ZipFile(folder / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as file:
        with file.open("images.npy", "w") as member:
            np.lib.format.write_array_header_1_0(
                member,
                {"shape": (300, 1024, 1024), "fortran_order": False, "descr": "|u1"},  # type: ignore[arg-type]
            )
            for _ in range(300):
                member.write(bytes(1 << 20))
    yield folder / "bomb.npz"
    for k, head in enumerate(
        [
            {"shape": (10**11, 28, 28), "fortran_order": False, "descr": "<f8"},
            {"shape": (-1, 28, 28), "fortran_order": False, "descr": "|u1"},
            {"shape": (2, 28, 28), "fortran_order": False, "descr": "|O"},
            {"shape": (2**62, 4), "fortran_order": True, "descr": "|u1"},
            {"shape": (4,), "fortran_order": False, "descr": [("a", "<f4"), ("b", "|O")]},
            {"shape": (3, 8, 8), "fortran_order": False, "descr": "|S5"},
            {"shape": (3, 8, 8), "fortran_order": False, "descr": "<M8[s]"},
        ]
    ):
        with open(folder / f"head{k}.npy", "wb") as file:
            np.lib.format.write_array_header_1_0(file, head)  # type: ignore[arg-type]
            file.write(bytes(64))
        yield folder / f"head{k}.npy"
    np.save(folder / "pickle.npy", np.array([{"a": 1}], object), allow_pickle=True)
    yield folder / "pickle.npy"
    for form in ("tar", "zip"):
        path = folder / f"self.{form}"
        path.write_bytes(rng.randbytes(2000))
        yield path
    large = bytearray(png())
    large[16:24] = (60_000).to_bytes(4, "big") * 2  # the header claims 3.6 gigapixels
    with zipfile.ZipFile(folder / "pixels.zip", "w") as file:
        file.writestr("a.png", bytes(large))
    yield folder / "pixels.zip"
    with zipfile.ZipFile(folder / "other.zip", "w") as file:
        for suffix in ("eps", "pdf", "svg", "icns", "dds", "psd", "html", "exe", "png"):
            file.writestr(f"a.{suffix}", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    yield folder / "other.zip"


READ = """
import resource, sys
from diffgauss import data
import jax; jax.devices()
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (size + 700_000_000,) * 2)
for path in sys.argv[1:]:
    try:
        print(repr(path), "read", data.load(path, limit=1e8).shape, flush=True)
    except (ValueError, OSError) as error:
        assert "\\n" not in str(error), error
        print(repr(path), "refused", type(error).__name__, flush=True)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the bound on memory is Linux's")
def test_hostile_archives_take_no_memory_and_write_nothing(tmp_path):
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    paths = list(archives(inside, random.Random(SEED)))
    before = {p for p in tmp_path.rglob("*")}
    begun = time.monotonic()
    said = subprocess.run(
        [sys.executable, "-c", READ, *map(str, paths)], capture_output=True, text=True, cwd=inside
    )
    assert said.returncode == 0, said.stdout[-300:] + said.stderr[-3000:]
    lines = [line for line in said.stdout.splitlines() if line.startswith("'")]
    assert len(lines) == len(paths) and time.monotonic() - begun < 20 * len(paths)
    assert "\x1b" not in said.stdout + said.stderr
    assert {p for p in tmp_path.rglob("*")} == before and not Path("/tmp/out.png").exists()
    by_name = {Path(path).name: line for path, line in zip(map(str, paths), lines, strict=True)}
    for name in ("sparse.tar", "bomb.npz", "bomb-png.zip", "pixels.zip", "pickle.npy", "other.zip", "head0.npy"):
        assert "refused" in by_name[name], by_name[name]
    COUNTS["hostile archives and arrays"] += len(paths)


def test_damage_of_images_is_a_line(tmp_path):
    """A byte of a small set changed, or its end cut off, in each form."""
    rng = np.random.default_rng(SEED)
    images = rng.integers(0, 255, (12, 6, 6), np.uint8)
    np.save(tmp_path / "a.npy", images)
    np.savez_compressed(tmp_path / "a.npz", images)
    for form in ("tar", "tar.gz", "zip"):
        path = tmp_path / f"a.{form}"
        if form == "zip":
            with zipfile.ZipFile(path, "w") as file:
                for i in range(6):
                    file.writestr(f"{i}.png", png())
        else:
            with tarfile.open(path, "w:gz" if form == "tar.gz" else "w") as file:
                for i in range(6):
                    info = tarfile.TarInfo(f"{i}.png")
                    info.size = len(png())
                    file.addfile(info, io.BytesIO(png()))
    for path in sorted(tmp_path.iterdir()):
        whole = path.read_bytes()
        for k in times(20, 800):
            changed = bytearray(whole)
            changed[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
            path.write_bytes(bytes(changed[: rng.integers(1, len(whole))]) if k % 4 == 0 else bytes(changed))
            begun = time.monotonic()
            refused(lambda path=path: dg.load(str(path), limit=1e8), "damaged sets of images")
            assert time.monotonic() - begun < 20
