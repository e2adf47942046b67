"""Foreign images: what ``load`` reads, in which order and on which scale, and what it says of everything else."""

import io
import os
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffgauss as dg
from diffgauss import _sources, data


def picture(seed: int, shape=(6, 6, 3)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def save(path: Path, pixels: np.ndarray, **options) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels.squeeze()).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path):
    """Ten colour pictures, written last first, in two classes."""
    for i in reversed(range(10)):
        save(tmp_path / "set" / ("cat" if i < 5 else "dog") / f"{i}.png", picture(i))
    return tmp_path / "set"


def scaled(*pixels: np.ndarray) -> np.ndarray:
    return np.stack(pixels).astype(np.float32) / np.float32(127.5) - 1


def test_a_folder_is_sorted_scaled_and_every_fifth_is_held_out(folder):
    train, test = dg.load(str(folder)), dg.load(folder, split="test")
    assert train.dtype == np.float32
    np.testing.assert_array_equal(train, scaled(*(picture(i) for i in (0, 1, 2, 3, 5, 6, 7, 8))))
    np.testing.assert_array_equal(test, scaled(picture(4), picture(9)))


@pytest.mark.parametrize("dogs", [["dog"], [1], (1, "dog")])
def test_classes_are_the_subfolders(folder, dogs):
    np.testing.assert_array_equal(dg.load(folder, classes=dogs), dg.load(folder)[4:])
    np.testing.assert_array_equal(dg.load(folder, "test", dogs), scaled(picture(9)))


def test_subfolders_train_and_test_are_the_splits(tmp_path):
    for i in range(7):
        save(tmp_path / ("test" if i < 2 else "train") / f"{i % 2}" / f"{i}.png", picture(i))
    assert len(dg.load(tmp_path)) == 5 and len(dg.load(tmp_path, "test")) == 2
    np.testing.assert_array_equal(dg.load(tmp_path, "test", classes=["1"]), scaled(picture(1)))
    for file in (tmp_path / "test").rglob("*.png"):
        file.unlink()
    with pytest.raises(ValueError, match="holds 5 images; needs at least one of split 'test'"):
        dg.load(tmp_path, "test")


@pytest.mark.parametrize("mode", ["w", "w:xz", "w:gz"])
def test_an_archive_is_read_as_the_folder_that_it_holds(folder, tmp_path, mode):
    archive = tmp_path / "set.tar.any"
    with tarfile.open(archive, mode) as tar:
        for file in sorted(folder.rglob("*.png"), reverse=True):  # members need not be sorted
            tar.add(file, f"./{file.relative_to(folder)}")
    for split in ("train", "test"):
        np.testing.assert_array_equal(dg.load(archive, split), dg.load(folder, split))
    np.testing.assert_array_equal(dg.load(archive, classes=["dog"]), dg.load(folder, classes=[1]))
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    with pytest.raises(ValueError, match=r"set\.tar\.any.*damaged"):
        dg.load(archive)


def test_grey_and_colour(folder, tmp_path):
    grey = dg.load(folder, grey=True)
    np.testing.assert_allclose(grey[..., 0], dg.load(folder) @ np.array([0.299, 0.587, 0.114]), atol=1 / 127)
    for i in range(5):
        save(tmp_path / "grey" / f"{i}.png", picture(i, (6, 6)))
    assert dg.load(tmp_path / "grey").shape == (4, 6, 6, 1)
    colour = dg.load(tmp_path / "grey", grey=False)
    assert colour.shape == (4, 6, 6, 3) and (colour == dg.load(tmp_path / "grey")).all()
    save(tmp_path / "grey" / "9.png", picture(9))  # one in colour makes all colour
    np.testing.assert_array_equal(dg.load(tmp_path / "grey")[:4], colour)


def test_size_crops_the_centre_and_keeps_what_is_smooth(tmp_path):
    ramp = np.linspace(0, 255, 64).astype(np.uint8)
    wide = np.zeros((64, 128, 3), np.uint8)
    wide[:, 32:96] = ramp[:, None, None]  # the centred square: brighter from top to bottom
    for i in range(2):
        save(tmp_path / f"{i}.png", wide)
    np.save(tmp_path / "wide.npy", scaled(wide, wide))
    (tmp_path / "wide.npy").rename(tmp_path.parent / "wide.npy")
    small = dg.load(tmp_path, size=8)
    assert small.shape == (2, 8, 8, 3)
    np.testing.assert_allclose(small[0, 1:-1, 3, 0], scaled(ramp).reshape(8, 8).mean(1)[1:-1], atol=0.02)
    np.testing.assert_allclose(small, np.broadcast_to(small[:, :, :1], small.shape), atol=1e-6)
    np.testing.assert_allclose(dg.load(tmp_path.parent / "wide.npy", size=8), small, atol=2 / 127)  # arrays alike
    assert dg.load("fashion-mnist", "test", classes=[0], size=14, grey=False).shape == (1000, 14, 14, 3)


def test_resized_floats_stay_in_range(tmp_path):
    edges = np.where(np.indices((1, 1, 16, 16)).sum(0)[0, 0] // 4 % 2, 1.0, -1.0)[None]
    np.save(tmp_path / "edges.npy", np.repeat(edges, 5, 0))
    small = dg.load(tmp_path / "edges.npy", size=11)
    assert small.dtype == np.float32 and small.min() == -1 and small.max() == 1


def test_transparency_orientation_and_frames(tmp_path):
    glass = np.zeros((4, 4, 4), np.uint8)
    glass[:2] = [255, 0, 0, 255]  # red above, see-through black below
    save(tmp_path / "alpha" / "a.png", glass)
    image = dg.load(tmp_path / "alpha")[0]
    assert (image[:2] == [1, -1, -1]).all() and (image[2:] == 1).all()

    exif = Image.Exif()
    exif[0x0112] = 6  # shot with the camera turned: to be turned clockwise
    save(tmp_path / "turned" / "a.png", picture(0, (4, 6, 3)), exif=exif)
    np.testing.assert_array_equal(dg.load(tmp_path / "turned")[0], scaled(np.rot90(picture(0, (4, 6, 3)), -1))[0])

    frames = [Image.fromarray(np.full((4, 4), v, np.uint8)) for v in (0, 255)]
    (tmp_path / "moving").mkdir()
    frames[0].save(tmp_path / "moving" / "a.gif", save_all=True, append_images=frames[1:])
    assert (dg.load(tmp_path / "moving") == -1).all()


def test_what_is_no_picture_is_passed_over(folder):
    whole = dg.load(folder)
    (folder / "notes.txt").write_text("not a picture")
    (folder / "._0.png").write_bytes(b"left by another system")
    np.testing.assert_array_equal(dg.load(folder), whole)


WIDE, DEEP = picture(0, (6, 9, 3)), np.zeros((6, 6), np.uint16)


def broken(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


@pytest.mark.parametrize(
    "spoil, options, message",
    [
        (lambda f: broken(f / "cat" / "2.png"), {}, r"set/cat/2\.png is damaged"),
        (lambda f: (f / "dog" / "7.png").write_bytes(b"<html>"), {}, r"set/dog/7\.png is damaged.*cannot identify"),
        (lambda f: save(f / "dog" / "7.png", WIDE), {}, r"6×6 pixels, .*7\.png 9×6; needs one shape"),
        (lambda f: save(f / "dog" / "7.png", DEEP), {}, r"7\.png has pixels of mode I.*8 bits"),
        (lambda f: None, {"classes": ["cow"]}, r"got class 'cow'; needs a number 0-1 or a name of \('cat', 'dog'"),
        (lambda f: None, {"classes": []}, r"got classes \[\]; needs at least one"),
        (lambda f: None, {"split": "all"}, "got split 'all'; needs 'train' or 'test'"),
        (lambda f: None, {"size": 0}, "size = 0; needs at least 1"),
        (lambda f: [p.unlink() for p in f.rglob("*.png")], {}, "set holds no images; needs files that end in .png"),
    ],
    ids=["cut", "not an image", "shapes", "16 bits", "class", "no class", "split", "size", "empty"],
)  # fmt: skip
def test_what_is_wrong_with_a_folder_is_said(folder, spoil, options, message):
    dg.load(folder)  # whole so far
    spoil(folder)
    with pytest.raises(ValueError, match=message):
        dg.load(folder, **options)


def test_a_flat_folder_has_no_classes(tmp_path):
    save(tmp_path / "0.png", picture(0))
    with pytest.raises(ValueError, match="has no subfolders, and needs one for each class"):
        dg.load(tmp_path, classes=[0])


@pytest.mark.parametrize("name", ["mnist", "no/such/folder", "a/b.npz", ""])
def test_a_name_of_nothing_is_refused(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="needs 'fashion-mnist', 'cifar10', a folder" if name else "no images"):
        dg.load(name)


def test_arrays(tmp_path):
    pixels = picture(0, (10, 4, 5, 3))
    np.save(tmp_path / "a.npy", pixels)
    test = np.arange(10) % 5 == 4
    np.testing.assert_array_equal(dg.load(tmp_path / "a.npy"), scaled(*pixels[~test]))
    np.testing.assert_array_equal(dg.load(tmp_path / "a.npy", "test"), scaled(*pixels[test]))
    np.savez(tmp_path / "b.npz", scaled(*pixels).astype(np.float64)[..., 0])
    np.testing.assert_allclose(dg.load(tmp_path / "b.npz"), scaled(*pixels)[~test][..., :1])
    np.savez_compressed(tmp_path / "c.npz", train=pixels[:7], test=pixels[7:], labels=np.arange(10))
    np.testing.assert_array_equal(dg.load(tmp_path / "c.npz"), scaled(*pixels[:7]))
    np.testing.assert_array_equal(dg.load(tmp_path / "c.npz", "test", grey=True).shape, (3, 4, 5, 1))


UNIT = np.linspace(-1, 1, 180).reshape(5, 6, 6)


@pytest.mark.parametrize(
    "array, message",
    [
        (128 * UNIT, r"has values from -128.0 to 128.0; needs them finite and within \[-1, 1\]"),
        (np.where(UNIT > 0.9, np.nan, UNIT), "has values from nan to nan"),
        ((100 * UNIT).astype(np.int64), "has dtype int64; needs uint8, or floating point"),
        (UNIT > 0, "has dtype bool"),
        (UNIT[0], r"has shape \(6, 6\); needs \(N, h, w\)"),
        (UNIT[..., :3], r"has shape \(5, 6, 3\)"),  # one colour image
        (np.zeros((5, 3, 8, 8), np.uint8), r"has shape \(5, 3, 8, 8\).*\(N, h, w, 1 or 3\)"),
        (np.zeros((5, 8, 8, 4), np.uint8), r"has shape \(5, 8, 8, 4\)"),
        (np.zeros((0, 8, 8), np.uint8), r"has shape \(0, 8, 8, 1\)"),
        (np.array([{"a": 1}], object), "damaged or not.*allow_pickle=False"),
    ],
    ids=["range", "NaN", "int", "bool", "2-D", "one image", "channels first", "alpha", "empty", "pickle"],
)
def test_what_is_wrong_with_an_array_is_said(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(ValueError, match=rf"a\.npy.*{message}"):
        dg.load(tmp_path / "a.npy")


def test_other_errors_of_arrays(tmp_path):
    np.savez(tmp_path / "two.npz", a=UNIT, b=UNIT)
    with pytest.raises(
        ValueError, match=r"two\.npz has the arrays \['a', 'b'\]; needs one, or .*'train' and 'test'"
    ):
        dg.load(tmp_path / "two.npz")
    for name in ("cut.npy", "cut.npz"):
        (np.save if name.endswith("y") else np.savez)(tmp_path / name, UNIT)
        (tmp_path / name).write_bytes((tmp_path / name).read_bytes()[:200])
        with pytest.raises(ValueError, match=rf"{name} is damaged"):
            dg.load(tmp_path / name)
    np.save(tmp_path / "half.npy", (UNIT + 1) / 2)
    with pytest.warns(UserWarning, match=r"no value below 0.*2\*x - 1"):
        dg.load(tmp_path / "half.npy")
    with pytest.raises(ValueError, match="got classes for .*not an array"):
        dg.load(tmp_path / "half.npy", classes=[0])
    (tmp_path / "report.pdf").write_bytes(b"%PDF")
    with pytest.raises(ValueError, match=r"report\.pdf is damaged, or no folder, tar archive"):
        dg.load(tmp_path / "report.pdf")


@pytest.fixture
def cifar(tmp_path, monkeypatch):
    """A miniature archive of CIFAR-10's form: three training images and one test image a class."""
    with tarfile.open(tmp_path / "cifar.tar.xz", "w:xz") as tar:
        for split, each in (("train", 3), ("test", 1)):
            for c, name in enumerate(data.CIFAR10):
                for i in range(each):
                    file = io.BytesIO()
                    Image.fromarray(np.full((32, 32, 3), 20 * c + i, np.uint8)).save(file, "png")
                    member = tarfile.TarInfo(f"{split}/{name}/{i:04}.png")
                    member.size = file.tell()
                    file.seek(0)
                    tar.addfile(member, file)
    monkeypatch.setenv("DIFFGAUSS_CIFAR10", str(tmp_path / "cifar.tar.xz"))
    monkeypatch.setattr(data, "_CIFAR10_EACH", {"train": 3, "test": 1})
    return tmp_path


def test_cifar10_of_an_archive(cifar):
    train, test = dg.load("cifar10"), dg.load("cifar10", split="test")
    assert train.shape == (30, 32, 32, 3) and test.shape == (10, 32, 32, 3)
    np.testing.assert_allclose(test[:, 0, 0, 0], np.arange(0, 200, 20) / 127.5 - 1, atol=1e-6)
    np.testing.assert_array_equal(dg.load("cifar10", classes=["cat", 3, 0]), train[[0, 1, 2, 9, 10, 11]])
    assert dg.load("cifar10", classes=[9], size=8, grey=True).shape == (3, 8, 8, 1)
    with pytest.raises(ValueError, match="got class 'T-shirt/top'; needs a number 0-9 or a name.*airplane"):
        dg.load("cifar10", classes=["T-shirt/top"])


def test_cifar10_with_images_missing_is_refused(cifar, monkeypatch):
    monkeypatch.setattr(data, "_CIFAR10_EACH", {"train": 5000, "test": 1000})
    with pytest.raises(ValueError, match=r"\(30, 32, 32, 3\) for 'train'; needs \(50000, 32, 32, 3\)"):
        dg.load("cifar10")
    monkeypatch.setenv("DIFFGAUSS_CIFAR10", str(cifar / "gone"))
    with pytest.raises(FileNotFoundError, match="gone is missing; DIFFGAUSS_CIFAR10 needs to name"):
        dg.load("cifar10")


@pytest.mark.skipif("DIFFGAUSS_CIFAR10" not in os.environ, reason="DIFFGAUSS_CIFAR10 names no copy of CIFAR-10")
def test_the_real_cifar10():
    for split, each in (("train", 5000), ("test", 1000)):
        images = dg.load("cifar10", split)
        assert images.shape == (10 * each, 32, 32, 3) and images.min() == -1 and images.max() == 1
        for c in (0, 9):
            np.testing.assert_array_equal(dg.load("cifar10", split, [c]), images[c * each : (c + 1) * each])
        assert -0.1 < images.mean() < 0 and 0.45 < images.std() < 0.55


def test_a_data_set_of_the_hub(folder, tmp_path, monkeypatch):
    """A folder that the library itself reads stands in for a set that it would fetch."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    for split in ("train", "test"):
        np.testing.assert_array_equal(_sources.hub(str(folder), split, None, None, None), pixels(folder, split))
    dogs = _sources.hub(str(folder), "train", ["dog"], 4, True)
    np.testing.assert_array_equal(dogs, _sources.read(folder, "train", ["dog"], 4, True))
    for name, split in (("cat", "train"), ("dog", "train"), ("cat", "validation")):
        save(tmp_path / "parts" / split / name / "0.png", picture(0))
    parts = str(tmp_path / "parts")
    with pytest.raises(ValueError, match=r"has the splits \['train', 'validation'\]; needs 'test'"):
        _sources.hub(parts, "test", None, None, None)
    assert len(_sources.hub(parts, "train", None, None, None)) == 2
    assert len(_sources.hub(parts, "train", [1], None, None)) == 1
    with pytest.raises(
        ValueError, match="holds 1 images; needs at least one of split 'validation' and its classes"
    ):
        _sources.hub(parts, "validation", ["dog"], None, None)
    with pytest.raises(ValueError, match=r"no/such is no folder or file here.*needs a network the first time"):
        dg.load("no/such")


def pixels(folder: Path, split: str) -> np.ndarray:
    return _sources.read(folder, split, None, None, None)


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"owner/set is no folder.*pip install 'diffgauss\[hub\]'"):
        dg.load("owner/set")
