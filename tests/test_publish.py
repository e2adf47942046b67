"""The folder for a model hub: whole, nothing else in it, with a card whose head the Hugging Face Hub reads."""

import json
import re
import shutil

import publish
import pytest
import yaml

import diffgauss as dg
from diffgauss.data import store

SMALL = ["zoo/n60000-resnet.safetensors", "zoo/n64-w4.safetensors"]


@pytest.fixture
def few(tmp_path, monkeypatch):
    """A store of two networks, in a checkout of its own."""
    lines = store.REGISTRY.read_text(encoding="utf-8").splitlines(keepends=True)
    home = tmp_path / "data"
    (home / "zoo").mkdir(parents=True)
    for path in SMALL:
        shutil.copy(store.path(path), home / path)
    (home / "registry.txt").write_text(
        "".join(line for line in lines if line.split()[2] in SMALL), encoding="utf-8"
    )
    monkeypatch.setattr(store, "REGISTRY", home / "registry.txt")
    monkeypatch.setattr(store, "HOME", home)
    monkeypatch.setattr(store, "REPOSITORY", "")
    monkeypatch.setattr(store, "cache", lambda: tmp_path / "cache")
    for name in ("DIFFGAUSS_DATA", "DIFFGAUSS_STORE"):
        monkeypatch.delenv(name, raising=False)
    return home


def test_the_folder_holds_card_licence_records_and_weights_that_load(few, tmp_path, monkeypatch):
    out = tmp_path / "out"
    wanted = publish.publish(out)
    assert wanted == publish.publish(out)  # again, over itself
    assert sorted(p.relative_to(out).as_posix() for p in out.rglob("*") if p.is_file()) == wanted
    assert wanted == ["LICENSE", "README.md", *SMALL, "zoo/zoo.json"]
    records = json.loads((out / "zoo" / "zoo.json").read_text(encoding="utf-8"))
    for path in SMALL:
        assert store.whole(out / path, path) and store.registry()[path][0] == records[path[4:-12]]["sha256"]
    shutil.rmtree(few / "zoo")
    monkeypatch.setenv("DIFFGAUSS_DATA", str(out))
    assert dg.zoo.load("n64-w4").sigma_data == 0.7


def test_the_card_has_a_head_and_says_what_was_trained_how_on_what_and_where_it_ends():
    text = (publish.ROOT / publish.TEXTS["README.md"]).read_text(encoding="utf-8")
    _, head, body = re.split(r"(?m)^---$", text, maxsplit=2)
    facts = yaml.safe_load(head)
    assert facts["license"] == "mit" and facts["library_name"] == "diffgauss" and "safetensors" in facts["tags"]
    known = {"fashion_mnist": "fashion-mnist", "cifar10": "cifar10", "medmnist-v2": "pneumoniamnist"}
    listed = {known[name.partition("/")[2]] for name in facts["datasets"]}
    assert listed == {dg.zoo.run(name).dataset for name in dg.zoo.shipped()}
    assert re.findall(r"(?m)^#+ (.*)$", body) == ["The zoo", "Training", "Limits", "The runs"]
    assert not re.search(r"\]\((?!https?://)", body)  # a link into the repository would lead nowhere


def test_what_is_not_for_publication_and_a_damaged_weight_are_refused(few, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".env").write_text("private", encoding="utf-8")
    with pytest.raises(ValueError, match=r"out has \.env, which is not for publication"):
        publish.publish(tmp_path / "out")
    (few / SMALL[0]).write_bytes(b"damaged")
    with pytest.raises(FileNotFoundError, match="n60000-resnet.safetensors is not on this machine"):
        publish.publish(tmp_path / "new")
    assert not (tmp_path / "new" / SMALL[0]).exists()
