import gzip
import hashlib
import shutil

import numpy as np
import pytest

import diffgauss as dg
from diffgauss import data
from diffgauss.data import images as source, store


def test_both_splits_are_whole_and_in_range(train, test):
    for images, n in [(train, 60000), (test, 10000)]:
        assert images.shape == (n, 28, 28, 1) and images.dtype == np.float32
        assert images.min() == -1 and images.max() == 1


def test_pixels_are_those_of_the_published_file(test):
    with gzip.open(data.folder() / "t10k-images-idx3-ubyte.gz") as file:
        raw = file.read()
    magic, n, height, width = np.frombuffer(raw[:16], ">u4")
    assert (magic, n, height, width) == (2051, 10000, 28, 28)
    pixels = np.frombuffer(raw[16:], np.uint8).reshape(test.shape)
    np.testing.assert_array_equal(np.round((test.astype(np.float64) + 1) * 127.5), pixels)
    np.testing.assert_allclose(test, pixels / 127.5 - 1, atol=1e-7)


@pytest.mark.parametrize("split, kind", [(s, k) for s in ("train", "test") for k in ("images", "labels")])
def test_checksums_are_those_of_the_files(split, kind):
    file, expected = source._FILES[split, kind]
    assert hashlib.sha256(gzip.decompress((data.folder() / file).read_bytes())).hexdigest() == expected


def test_classes_are_chosen_by_number_or_name(test):
    assert len(dg.load(classes=["Coat"])) == 6000
    coats = dg.load(split="test", classes=[4])
    np.testing.assert_array_equal(coats, dg.load(split="test", classes=["Coat"]))
    assert len(coats) == 1000
    np.testing.assert_array_equal(dg.load(split="test", classes=range(10)), test)
    mixed = dg.load(split="test", classes=["Coat", 0])
    assert len(mixed) == 2000
    wanted = {image.tobytes() for image in coats}
    assert [m.tobytes() for m in mixed if m.tobytes() in wanted] == [c.tobytes() for c in coats]  # order is kept


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"name": "mnist"}, "got name 'mnist'.*'fashion-mnist'"),
        ({"split": "validation"}, "got split 'validation'; needs 'train' or 'test'"),
        ({"split": "test", "classes": ["Hat"]}, "got class 'Hat'; needs a number 0-9 or a name.*Ankle boot"),
        ({"split": "test", "classes": [10]}, "got class 10; needs a number 0-9"),
        ({"split": "test", "classes": [-1]}, "got class -1"),
        ({"split": "test", "classes": []}, r"got classes \[\]; needs at least one"),
    ],
)
def test_unknown_names_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        dg.load(**arguments)


@pytest.fixture
def copies(tmp_path, monkeypatch):
    """A folder with copies of the test split, which ``load`` reads from."""
    (tmp_path / "fashion-mnist").mkdir()
    for kind in ("images", "labels"):
        shutil.copy(data.folder() / source._FILES["test", kind][0], tmp_path / "fashion-mnist")
    monkeypatch.setattr(store, "HOME", tmp_path)
    for name in ("DIFFGAUSS_DATA", "DIFFGAUSS_STORE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(store, "cache", lambda: tmp_path / "cache")
    monkeypatch.setattr(store, "REPOSITORY", "")
    return data.folder()


def cut(content):
    return content[: len(content) // 2]


def flip(content):
    return content[:-100] + bytes([content[-100] ^ 1]) + content[-99:]


def repack(content):
    raw = bytearray(gzip.decompress(content))
    raw[5000] ^= 1
    return gzip.compress(bytes(raw), 1)


@pytest.mark.parametrize(
    "damage, message",
    [
        (cut, "damaged"),
        (flip, "damaged|sha256"),
        (repack, "unpacks to sha256 [0-9a-f]{64}; needs 5b4141f0"),
        (lambda content: b"<html>not found</html>", "damaged.*needs the published file"),
        (lambda content: b"", "damaged|sha256"),
    ],
    ids=["truncated", "altered", "repacked", "not gzip", "empty"],
)
def test_a_damaged_file_is_named(copies, damage, message):
    path = copies / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message) as error:
        dg.load(split="test")
    assert str(path) in str(error.value) and "data/README.md" in str(error.value)


def test_a_missing_file_is_named(copies):
    assert len(dg.load(split="test")) == 10000  # whole so far
    (copies / "t10k-labels-idx1-ubyte.gz").unlink()
    assert len(dg.load(split="test")) == 10000  # labels are not needed for all classes
    with pytest.raises(
        FileNotFoundError, match="t10k-labels-idx1-ubyte.gz is not on this machine, .*; needs DIFFGAUSS_STORE"
    ):
        dg.load(split="test", classes=[1])


def test_subsets_of_one_seed_are_nested():
    points = np.arange(100).reshape(100, 1)
    large = dg.subset(points, 60, seed=3)
    for n in (1, 10, 60):
        np.testing.assert_array_equal(dg.subset(points, n, seed=3), large[:n])
    assert len(np.unique(large)) == 60
    np.testing.assert_array_equal(np.sort(dg.subset(points, 100, seed=3), 0), points)
    assert (dg.subset(points, 60, seed=4) != large).any()


@pytest.mark.parametrize("size, n", [(100, None), (101, None), (100, 7), (2, 1)])
def test_halves_are_disjoint_and_the_first_is_the_subset(size, n):
    points = np.arange(size).reshape(size, 1)
    first, second = dg.disjoint_halves(points, n, seed=5)
    assert first.shape == second.shape == (size // 2 if n is None else n, 1)
    assert not set(first.ravel()) & set(second.ravel())
    assert len(np.unique(second)) == len(second)
    np.testing.assert_array_equal(first, dg.subset(points, len(first), seed=5))


@pytest.mark.parametrize("n", [0, -1, 11])
def test_n_out_of_range_is_refused(n):
    points = np.arange(10.0).reshape(10, 1)
    with pytest.raises(ValueError, match=f"asked for {n} points; needs between 1 and the 10"):
        dg.subset(points, n, seed=0)
    with pytest.raises(ValueError, match=f"asked for {2 * n} points"):
        dg.disjoint_halves(points, n, seed=0)
    with pytest.raises(ValueError, match="asked for"):
        dg.disjoint_halves(points[:1], seed=0)
