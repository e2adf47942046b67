"""Foreign images: what ``load`` reads, in which order and on which scale, and what it says of everything else."""

import io
import os
import struct
import sys
import tarfile
import warnings
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import diffgauss as dg
from diffgauss import data
from diffgauss.data import decoding, images as source, sources, splits


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


def halves(names) -> tuple[list[int], list[int]]:
    """Which of the names are train and which test where nothing says so."""
    names = list(names)
    return tuple(np.flatnonzero(splits.fifth(names, split)).tolist() for split in ("train", "test"))  # type: ignore[return-value]


NAMES = [f"{'cat' if i < 5 else 'dog'}/{i}.png" for i in range(10)]


def test_a_folder_is_sorted_scaled_and_a_fifth_is_held_out(folder):
    train, test = dg.load(str(folder)), dg.load(folder, split="test")
    assert train.dtype == np.float32 and len(train) == 8 and len(test) == 2
    for images, rows in zip((train, test), halves(NAMES), strict=True):
        np.testing.assert_array_equal(images, scaled(*(picture(i) for i in rows)))


def test_the_fifth_does_not_follow_a_period_and_does_not_change_with_company():
    names = [f"object{i // 5:02d}/view{i % 5}.png" for i in range(100)]
    views = {name[-5] for name, k in zip(names, splits.fifth(names, "test"), strict=True) if k}
    assert len(views) == 5 and splits.fifth(names, "test").sum() == 20
    both = splits.fifth(names, "test") & splits.fifth(names, "train")
    assert not both.any() and (splits.fifth(names, "test") | splits.fifth(names, "train")).all()
    test = set(np.array(names)[splits.fifth(names, "test")])
    again = set(np.array(names[::-1])[splits.fifth(names[::-1], "test")])
    more = [*names, *(f"new{i}.png" for i in range(10))]
    assert again == test and len(test & set(np.array(more)[splits.fifth(more, "test")])) >= 16


@pytest.mark.parametrize("dogs", [["dog"], [1], (1, "dog")])
def test_classes_are_the_subfolders(folder, dogs):
    for split, rows in zip(("train", "test"), halves(NAMES), strict=True):
        if any(i >= 5 for i in rows):
            wanted = scaled(*(picture(i) for i in rows if i >= 5))
            np.testing.assert_array_equal(dg.load(folder, split, dogs), wanted)


def test_subfolders_train_and_test_are_the_splits(tmp_path):
    for i in range(7):
        save(tmp_path / ("test" if i < 2 else "train") / f"{i % 2}" / f"{i}.png", picture(i))
    assert len(dg.load(tmp_path)) == 5 and len(dg.load(tmp_path, "test")) == 2
    np.testing.assert_array_equal(dg.load(tmp_path, "test", classes=["1"]), scaled(picture(1)))
    (tmp_path / "test").rename(tmp_path / "Val")
    (tmp_path / "train").rename(tmp_path / "TRAIN")
    save(tmp_path / "cover.png", picture(9))
    images, found = dg.load(tmp_path, "test", report=True)
    assert len(images) == 2 and found is not None and found.how == "the folder val" and found.classes == ("0", "1")
    assert dict(found.passed) == {"images in TRAIN/": 5, "images in no folder": 1}
    (tmp_path / "cover.png").unlink()
    for file in (tmp_path / "Val").rglob("*.png"):
        file.unlink()
    images, found = dg.load(tmp_path, "test", report=True)  # train alone is a class like others
    assert len(images) == 1 and found is not None and found.how == splits.FIFTH and found.classes == ("0", "1")


@pytest.mark.parametrize("top", ["./", "pictures/"])
@pytest.mark.parametrize("mode", ["w", "w:xz", "w:gz"])
def test_an_archive_is_read_as_the_folder_that_it_holds(folder, tmp_path, mode, top):
    archive = tmp_path / "set.tar.any"
    with tarfile.open(archive, mode) as tar:
        for file in sorted(folder.rglob("*.png"), reverse=True):  # members need not be sorted
            tar.add(file, f"{top}{file.relative_to(folder)}")
    for split in ("train", "test"):
        (packed, of_it), (images, of) = (dg.load(path, split, report=True) for path in (archive, folder))
        np.testing.assert_array_equal(packed, images)
        assert of_it is not None and of is not None
        assert (of_it.found, of_it.classes, of_it.passed) == (of.found, of.classes, of.passed)
    np.testing.assert_array_equal(dg.load(archive, classes=["dog"]), dg.load(folder, classes=[1]))
    whole = archive.read_bytes()
    for end in (len(whole) // 2, 40, 10):
        archive.write_bytes(whole[:end])
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
    (folder / "notes.txt").write_text("not a picture", encoding="utf-8")
    (folder / "._0.png").write_bytes(b"left by another system")
    np.testing.assert_array_equal(dg.load(folder), whole)


def test_every_file_is_accounted_for_in_one_line(folder, capsys):
    (folder / "notes.TXT").write_text("not a picture", encoding="utf-8")
    (folder / "a.heic").write_bytes(b"of a phone")
    (folder / ".hidden.png").write_bytes(b"left by another system")
    save(folder / "cat" / "x.jfif.png", picture(0))
    (folder / "cat" / "x.jfif.png").rename(folder / "cat" / "x.jfif")
    dg.load(folder)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "11 images found, 9 used as 'train'" in said and splits.FIFTH in said
    assert (
        "2 classes: cat, dog" in said
        and "passed over: .heic (1), .txt (1), hidden (1), images of 'test' (2)" in said
    )
    for split in ("train", "test"):
        images, found = dg.load(folder, split, report=True)
        assert found is not None and len(images) == found.used and found.found == 11
    assert not capsys.readouterr().out
    assert dg.load("fashion-mnist", "test", report=True)[1] is None


def test_names_of_files_do_not_move_the_cursor(tmp_path, capsys):
    save(tmp_path / "a\x1b[31m\nb" / "0.png", picture(0))
    save(tmp_path / "a\x1b[31m\nb" / "1.png", picture(1))
    dg.load(tmp_path)
    assert capsys.readouterr().out[:-1].isprintable()


def test_a_class_named_train_is_a_class_and_one_folder_on_top_is_looked_into(tmp_path):
    for name in ("bus", "car", "train"):
        for i in range(5):
            save(tmp_path / "vehicles" / name / f"{i}.png", picture(i))
    images, found = dg.load(tmp_path / "vehicles", report=True)
    assert len(images) == 12 and found is not None and found.classes == ("bus", "car", "train")
    assert dg.load(tmp_path, report=True)[1].classes == found.classes  # type: ignore[union-attr]
    for name in ("train", "test"):
        save(tmp_path / "top" / "set" / name / "cat" / "0.png", picture(name == "test"))
    save(tmp_path / "top" / "set" / "extra" / "1.png", picture(2))
    np.testing.assert_array_equal(dg.load(tmp_path / "top", "test", classes=["cat"]), scaled(picture(1)))
    _, found = dg.load(tmp_path / "top", report=True)
    assert (
        found is not None
        and found.found == 3
        and found.used == 1
        and dict(found.passed) == {"images in extra/": 1, "images in test/": 1}
    )


def test_links_are_followed_once_and_what_cannot_be_read_is_an_error(tmp_path):
    for i in range(3):
        save(tmp_path / "far" / f"{i}.png", picture(i))
        save(tmp_path / "set" / "cat" / f"{i}.png", picture(10 + i))
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "loop").symlink_to(tmp_path / "set")
    (tmp_path / "set" / "gone.png").symlink_to(tmp_path / "nothing")
    images, found = dg.load(tmp_path / "set", report=True)
    assert found is not None and found.found == 6 and found.classes == ("cat", "dog") and len(images) == 5
    assert ("broken link", 1) in found.passed
    if os.geteuid():  # root reads all
        (tmp_path / "far").chmod(0)
        with pytest.raises(PermissionError, match="dog|far"):
            dg.load(tmp_path / "set")
        (tmp_path / "far").chmod(0o700)
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match="no folder and no regular file"):
        dg.load(tmp_path / "pipe.npy")


def test_a_zip_is_read_and_of_a_repeated_name_the_last_counts(folder, tmp_path):
    with zipfile.ZipFile(tmp_path / "set.zip", "w") as archive:
        for file in folder.rglob("*.png"):
            archive.write(file, file.relative_to(folder))
    for split in ("train", "test"):
        np.testing.assert_array_equal(dg.load(tmp_path / "set.zip", split), dg.load(folder, split))
    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for seed in (50, 0):
            save(tmp_path / "one.png", picture(seed))
            tar.add(tmp_path / "one.png", "one.png")
    images, found = dg.load(tmp_path / "set.tar", report=True)
    np.testing.assert_array_equal(images, scaled(picture(0)))
    assert found is not None and found.found == 1 and found.passed == (("of a name that comes again", 1),)


def test_palettes_of_grey_are_grey_and_deep_pictures_are_refused(tmp_path):
    (tmp_path / "gif").mkdir()
    Image.fromarray(picture(0, (6, 6))).save(tmp_path / "gif" / "a.gif")
    assert dg.load(tmp_path / "gif").shape == (1, 6, 6, 1)
    deep = zlib.compress(b"".join(b"\0" + bytes(6 * 3 * 2) for _ in range(6)))

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", 6, 6, 16, 2, 0, 0, 0)
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", deep) + chunk(b"IEND", b"")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "a.png").write_bytes(png)
    with pytest.raises(ValueError, match=r"a\.png has pixels of mode .*8 bits a channel"):
        dg.load(tmp_path / "deep")


@pytest.mark.parametrize("kind", ["EPS", "DDS", "TGA", "ICO", "PCX"])
def test_formats_that_nobody_asked_for_are_not_decoded(kind, tmp_path):
    Image.fromarray(picture(0, (16, 16, 3))).save(tmp_path / "a.png", format=kind)
    with pytest.raises(ValueError, match=r"a\.png is damaged or not what its name says"):
        dg.load(tmp_path)


@pytest.mark.parametrize("limit", [0, -1.0, np.nan, "x"])
def test_a_limit_is_a_number_of_bytes(limit, folder, unchecked):
    with pytest.raises(ValueError, match="limit = .*needs a number of bytes > 0"):
        dg.load(folder, limit=limit)


def test_what_is_too_large_is_refused_before_it_is_unpacked(folder, tmp_path):
    save(tmp_path / "wide" / "a.png", np.zeros((20000, 20000), bool))
    with pytest.raises(ValueError, match="a.png has more pixels than Pillow reads"):
        dg.load(tmp_path / "wide")
    with pytest.raises(ValueError, match="set holds more than 200 bytes of pixels; needs size= or a higher limit="):
        dg.load(folder, limit=200)
    np.save(tmp_path / "a.npy", UNIT)
    np.savez(tmp_path / "a.npz", UNIT)
    for name in ("a.npy", "a.npz"):
        with pytest.raises(ValueError, match="needs .*a higher limit="):
            dg.load(tmp_path / name, limit=1000)
    huge = io.BytesIO()
    np.lib.format.write_array_header_1_0(huge, {"descr": "|u1", "fortran_order": False, "shape": (10**6, 400, 400)})
    (tmp_path / "claims.npy").write_bytes(huge.getvalue() + b"0" * 100)
    with zipfile.ZipFile(tmp_path / "claims.npz", "w") as archive:
        archive.writestr("images.npy", huge.getvalue() + b"0" * 100)
    for name in ("claims.npy", "claims.npz"):
        with pytest.raises(ValueError, match=f"{name} holds an array of 1.6e.11 bytes"):
            dg.load(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} is damaged"):
            dg.load(tmp_path / name, limit=1e12)
    bomb = tarfile.TarInfo("a.png")
    bomb.size = 10**12
    (tmp_path / "bomb.tar").write_bytes(bomb.tobuf() + bytes(10240))
    with pytest.raises(ValueError, match="bomb.tar takes more than 4e.09 bytes unpacked"):
        dg.load(tmp_path / "bomb.tar")


@pytest.mark.parametrize(
    "names",
    [
        ("train_images", "test_images"),
        ("x_train", "x_test"),
        ("X_train", "X_test"),
        ("train", "val"),
        ("train_x", "test_x"),
    ],
)
def test_the_usual_names_of_arrays(names, tmp_path):
    images = picture(0, (10, 6, 6))
    np.savez(tmp_path / "a.npz", **{names[0]: images[:7], names[1]: images[7:], "train_labels": np.arange(7)})
    train, found = dg.load(tmp_path / "a.npz", report=True)
    np.testing.assert_array_equal(train[..., 0], scaled(*images[:7]))
    assert len(dg.load(tmp_path / "a.npz", "test")) == 3
    assert found is not None and repr(names[0]) in found.how and ("array train_labels", 1) in found.passed
    assert len(dg.load(f"{tmp_path}/a.npz:{names[1]}")) == 3 - 3 // 5
    with pytest.raises(ValueError, match="needs one of them after the colon, not 'nothing'"):
        dg.load(f"{tmp_path}/a.npz:nothing")


def test_a_lone_array_beside_labels_and_masks_of_0_and_1(tmp_path, monkeypatch):
    np.savez(tmp_path / "a.npz", images=picture(0, (10, 6, 6)), labels=np.arange(10))
    assert len(dg.load(tmp_path / "a.npz")) == 8
    np.save(tmp_path / "masks.npy", picture(0, (10, 6, 6)) % 2)
    with pytest.warns(UserWarning, match="no value above 1.*255"):
        dg.load(tmp_path / "masks.npy")
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.warns(UserWarning):
        assert len(dg.load("~/masks.npy")) == 8


FUZZ = int(os.environ.get("FUZZ", "500"))
"""Damaged files that are read; the nightly run takes 20000."""


@pytest.mark.parametrize(
    "name", ["a.npy", "a.npz", "b.npz", "a.tar", "a.tar.gz", "a.zip", "png/a.png", "webp/a.webp"]
)
def test_damage_of_any_kind_is_a_line(name, tmp_path):
    path, images = tmp_path / name, picture(0, (8, 6, 6, 3))
    path.parent.mkdir(exist_ok=True)
    if name.endswith((".png", ".webp")):
        save(path, images[0])
    elif name.endswith("npy"):
        np.save(path, images)
    elif name.endswith("npz"):
        (np.savez if name == "a.npz" else np.savez_compressed)(path, train=images[:6], test=images[6:])
    else:
        for k, image in enumerate(images):
            save(tmp_path / "in" / f"{k}.png", image)
        if name.endswith("zip"):
            with zipfile.ZipFile(path, "w") as archive:
                for k in range(8):
                    archive.write(tmp_path / "in" / f"{k}.png", f"{k}.png")
        else:
            with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tar:
                tar.add(tmp_path / "in", "in")
    whole, rng, said = path.read_bytes(), np.random.default_rng(0), set()
    target = path.parent if name.endswith((".png", ".webp")) else path
    for k in range(FUZZ // 8):
        changed = bytearray(whole)
        head = len(whole) if k % 2 else min(300, len(whole))  # where the file says what it is
        for place in rng.integers(0, head, rng.integers(1, 8)):
            changed[place] = rng.integers(0, 256)
        path.write_bytes(bytes(changed[: rng.integers(1, len(whole))] if k % 5 == 0 else changed))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dg.load(target, limit=1e8)
        except (ValueError, OSError) as error:
            said.add(type(error))
    assert said


def test_a_mistyped_path_is_not_asked_of_the_hub(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    monkeypatch.setattr(source.sources, "hub", lambda *arguments: pytest.fail("asked"))
    for name in ("data/fotos", "photos/set.tar.gz", "photos/a.png", "./photos/a", "~/photos", "/photos/a"):
        with pytest.raises(ValueError, match="is no file or folder here"):
            dg.load(name)


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
    with pytest.raises(
        ValueError, match="needs 'fashion-mnist', 'cifar10', 'pneumoniamnist', a folder" if name else "no images"
    ):
        dg.load(name)


def test_arrays(tmp_path):
    pixels = picture(0, (10, 4, 5, 3))
    np.save(tmp_path / "a.npy", pixels)
    test = splits.fifth(map(str, range(10)), "test")
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
        ValueError, match=r"two\.npz has the arrays \['a', 'b'\]; needs one, those named 'train' and 'test'"
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
    with pytest.raises(ValueError, match=r"report\.pdf is damaged, or no folder, tar archive, zip"):
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
    monkeypatch.setattr(source, "_CIFAR10_EACH", {"train": 3, "test": 1})
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
    monkeypatch.setattr(source, "_CIFAR10_EACH", {"train": 5000, "test": 1000})
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
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    rows = dict(zip(("train", "test"), halves(map(str, range(10))), strict=True))
    for split in rows:
        images, found = sources.hub(str(folder), split, None, None, None)
        np.testing.assert_array_equal(images, np.stack([picture(i) for i in rows[split]]))
        assert (found.found, found.used, found.how, found.classes) == (
            10,
            len(images),
            splits.FIFTH,
            ("cat", "dog"),
        )
    dogs, _ = sources.hub(str(folder), "train", ["dog"], 4, True)
    wanted = [decoding.pixels("", folder / "dog" / f"{i}.png", 4, True) for i in rows["train"] if i >= 5]
    np.testing.assert_array_equal(dogs, np.stack(wanted))
    for name, split in (("cat", "train"), ("dog", "train"), ("cat", "validation")):
        save(tmp_path / "parts" / split / name / "0.png", picture(0))
    parts = str(tmp_path / "parts")
    held, found = sources.hub(parts, "test", None, None, None)
    assert len(held) == 1 and found.how == "its split 'validation'"
    assert len(sources.hub(parts, "train", None, None, None)[0]) == 2
    assert len(sources.hub(parts, "train", [1], None, None)[0]) == 1
    with pytest.raises(ValueError, match="holds 1 images; needs at least one of split 'test' and its classes"):
        sources.hub(parts, "test", ["dog"], None, None)
    with pytest.raises(ValueError, match=r"no/such is no folder or file here.*needs a network the first time"):
        dg.load("no/such")


def test_without_the_library_the_error_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(ModuleNotFoundError, match=r"owner/set is no folder.*pip install 'diffgauss\[hub\]'"):
        dg.load("owner/set")


@pytest.fixture
def xrays(tmp_path, monkeypatch):
    """A file laid out as MedMNIST's, and its arrays."""
    rng = np.random.default_rng(0)
    arrays = {}
    for part, n in (("train", 5), ("val", 3), ("test", 4)):
        arrays[f"{part}_images"] = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)
        arrays[f"{part}_labels"] = rng.integers(0, 2, (n, 1), dtype=np.uint8)
    np.savez(tmp_path / "xrays.npz", **arrays)
    monkeypatch.setenv("DIFFGAUSS_PNEUMONIAMNIST", str(tmp_path / "xrays.npz"))
    return tmp_path / "xrays.npz", arrays


def test_chest_x_rays_are_the_training_and_validation_images_together(xrays):
    path, arrays = xrays
    whole = np.concatenate([arrays["train_images"], arrays["val_images"]])[..., None] / np.float32(127.5) - 1
    np.testing.assert_allclose(dg.load("pneumoniamnist"), whole, atol=1e-6)
    np.testing.assert_allclose(
        dg.load("pneumoniamnist", "test")[..., 0], arrays["test_images"] / 127.5 - 1, atol=1e-6
    )
    np.testing.assert_array_equal(
        dg.load(path), dg.load("pneumoniamnist")[:5]
    )  # a file's "train" is what it calls so
    assert dg.load("pneumoniamnist", size=14).shape == (8, 14, 14, 1)


def test_chest_x_rays_that_are_not_there_or_of_another_size_are_refused(xrays, monkeypatch):
    path, arrays = xrays
    np.savez(path, **{name: images[:, :20, :20] for name, images in arrays.items() if "images" in name})
    with pytest.raises(ValueError, match=r"holds images of shape \(20, 20, 1\); needs \(28, 28, 1\)"):
        dg.load("pneumoniamnist")
    for gone in (str(path.with_name("gone.npz")), ""):
        monkeypatch.setenv("DIFFGAUSS_PNEUMONIAMNIST", gone)
        with pytest.raises(FileNotFoundError, match="needs the path of pneumoniamnist.npz"):
            dg.load("pneumoniamnist")
    path.write_bytes(path.read_bytes()[:200])
    monkeypatch.setenv("DIFFGAUSS_PNEUMONIAMNIST", str(path))
    with pytest.raises(ValueError, match="damaged"):
        dg.load("pneumoniamnist")


@pytest.mark.skipif("DIFFGAUSS_PNEUMONIAMNIST" not in os.environ, reason="DIFFGAUSS_PNEUMONIAMNIST names no copy")
def test_the_real_chest_x_rays():
    n = len(dg.load("pneumoniamnist"))
    assert n in (4406, 5232)  # of the copy that the zoo was trained on, of the original
    assert dg.load("pneumoniamnist", "test").shape == (624, 28, 28, 1)
