"""What is a picture and what is not, in folders as people have them; every mode and size becomes the same pixels."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from danlu.data.folders import files_in
from danlu.data.images import ImageEncoder, is_image_source, is_mask_source, read_images, read_masks
from danlu.data.images.encode import check_pixels
from danlu.data.images.pixels import LONGEST, is_picture, open_image, open_whole
from danlu.data.text import read_texts
from danlu.errors import DataError

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (6, 8)).astype(np.uint8)
COLOR = RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8)
LEFTOVERS = (
    ".ipynb_checkpoints/cat-checkpoint.png",
    "__MACOSX/._x.png",
    "@eaDir/x.png/thumb.jpg",
    ".thumbnails/a.png",
    ".git/x.png",
)


def save(path: Path, pixels: np.ndarray = COLOR, **options) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)


def litter(folder: Path) -> None:
    """What systems leave in a folder."""
    for name in LEFTOVERS:
        save(folder / name)
    (folder / "empty").mkdir(exist_ok=True)
    (folder / "notes").mkdir(exist_ok=True)
    (folder / "notes" / "read.me.txt").write_text("about the pictures")
    for name in (".DS_Store", "Thumbs.db", "._0.png", "desktop.ini"):
        (folder / name).write_bytes(b"\0\0\0\1Bud1")


def photos(root: Path, parts: tuple[str, ...]) -> Path:
    for part in parts:
        for label in ("cat", "dog"):
            for number in range(3):
                save(root / part / label / f"{number}.png", RNG.integers(0, 256, (6, 8, 3)).astype(np.uint8))
    return root


@pytest.mark.parametrize("parts", [("",), ("train", "test"), ("Training", "val", "test")])
@pytest.mark.parametrize("home", ["photos", ".data/photos", ".cache/@eaDir/photos"])
def test_leftovers_are_no_data_at_any_depth(tmp_path: Path, parts: tuple[str, ...], home: str) -> None:
    root = photos(tmp_path / home, parts)
    clean = read_images(root)
    assert clean.labels is not None
    for folder in [root, *(entry for entry in root.rglob("*") if entry.is_dir())]:
        litter(folder)
    found = read_images(root)
    assert found.paths == clean.paths
    assert found.labels.to_list() == clean.labels.to_list() == ["cat"] * 3 + ["dog"] * 3 if parts == ("",) else True
    assert set(found.labels) == {"cat", "dog"}
    assert (found.parts is None) == (parts == ("",))
    assert found.parts is None or found.parts.tolist() == clean.parts.tolist()
    assert found.notices == ()
    assert is_image_source(root)


def test_a_folder_with_leftovers_only_is_no_image_source(tmp_path: Path) -> None:
    litter(tmp_path)
    assert not is_image_source(tmp_path)
    assert [file.name for file in files_in(tmp_path)] == ["read.me.txt"]


def test_folders_beside_the_parts_and_pictures_beside_the_folders_are_told_of(tmp_path: Path) -> None:
    root = photos(tmp_path, ("train", "test"))
    save(root / "unsorted" / "1.png")
    save(root / "cover.png")
    shutil.move(root / "test" / "dog", root / "test" / "Dogs")
    found = read_images(root)
    assert set(found.parts) == {"train", "test"}
    text = " ".join(found.notices)
    assert "1 images next to the folders" in text
    assert "folders beside test, train are left out: unsorted" in text
    assert "the training part has no image of Dogs" in text


def test_train_can_be_a_class(tmp_path: Path) -> None:
    for label in ("car", "plane", "train"):
        save(tmp_path / label / "0.png")
    found = read_images(tmp_path)
    assert found.parts is None
    assert found.labels.to_list() == ["car", "plane", "train"]
    for label in ("car", "plane"):
        shutil.rmtree(tmp_path / label)
    with pytest.raises(DataError, match="no folder for each class"):
        read_images(tmp_path)


def test_endings(tmp_path: Path) -> None:
    for name, form in (
        ("a.jfif", "JPEG"),
        ("b", "PNG"),
        ("c.001", "GIF"),
        ("d", "TIFF"),
        ("e", "WEBP"),
        ("f", "BMP"),
        ("g", "JPEG"),
    ):
        save(tmp_path / "x" / name, format=form)
    (tmp_path / "x" / "LICENSE").write_text("free")
    found = read_images(tmp_path)
    assert [Path(path).name for path in found.paths] == ["a.jfif", "b", "c.001", "d", "e", "f", "g"]
    assert len(read_images(tmp_path / "x" / "b")) == 1
    assert not is_picture(tmp_path / "x" / "LICENSE")


def modes() -> dict[str, tuple[Image.Image, str]]:
    grey, color = Image.fromarray(GREY), Image.fromarray(COLOR)
    clear = np.dstack([COLOR, np.where(GREY > 128, 255, 0).astype(np.uint8)])
    sixteen = (GREY.astype(np.uint16) * 257).astype("<u2")
    return {
        "L": (grey, "png"),
        "1": (grey.convert("1"), "png"),
        "LA": (Image.fromarray(clear).convert("LA"), "png"),
        "P": (color.quantize(200), "png"),
        "RGB": (color, "png"),
        "RGBA": (Image.fromarray(clear), "png"),
        "CMYK": (color.convert("CMYK"), "tif"),
        "I;16": (Image.fromarray(sixteen), "png"),
        "I;16B": (Image.frombytes("I;16B", (8, 6), sixteen.astype(">u2").tobytes()), "tif"),
    }


@pytest.mark.parametrize("mode", modes())
@pytest.mark.parametrize("channels", [1, 3])
def test_a_picture_of_any_mode_is_encoded_for_any_model(tmp_path: Path, mode: str, channels: int) -> None:
    picture, ending = modes()[mode]
    picture.save(tmp_path / f"x.{ending}")
    with Image.open(tmp_path / f"x.{ending}") as read:
        assert read.mode == mode
    encoder = ImageEncoder(6, 8, channels)
    found = read_images(tmp_path / f"x.{ending}")
    encoded = encoder.transform(found.images)
    assert encoded.shape == (1, 6, 8, channels)
    ground = Image.new("RGBA", (8, 6), "white")
    expected = picture if mode.startswith("I") else Image.alpha_composite(ground, picture.convert("RGBA"))
    if mode.startswith("I"):
        expected = Image.fromarray(GREY)
    expected = np.asarray(expected.convert("L" if channels == 1 else "RGB").convert("L" if channels == 1 else "RGB"))
    assert np.abs(encoded[0].astype(int) - expected.reshape(6, 8, channels)).max() <= 2
    # As an array of one: the same.
    array = check_pixels(np.asarray(open_image(tmp_path / f"x.{ending}"))[None], "the array")
    np.testing.assert_array_equal(encoder.transform(array), encoded)


@pytest.mark.parametrize("count", [1, 12])
def test_arrays_give_an_answer_an_image(count: int) -> None:
    grey, color = (
        RNG.integers(0, 256, (count, 6, 8)).astype(np.uint8),
        RNG.integers(0, 256, (count, 6, 8, 3)).astype(np.uint8),
    )
    for encoder in (ImageEncoder(6, 8, 3), ImageEncoder(6, 8, 1), ImageEncoder(3, 4, 3)):
        for images in (grey, grey[..., None], color, np.dstack([color[0], grey[0]])[None].repeat(count, 0)):
            pixels = check_pixels(images, "the array", alone=True)
            assert encoder.transform(pixels).shape == (count, *encoder.in_shape)
    repeated = ImageEncoder(6, 8, 3).transform(grey)
    np.testing.assert_array_equal(repeated, grey[..., None].repeat(3, axis=3))


def test_arrays_of_other_types_are_the_same_pixels() -> None:
    for array in (
        GREY / 255.0,
        GREY.astype(np.uint16) * 257,
        (GREY.astype(np.uint16) * 257).astype(">u2"),
        GREY.astype(float),
    ):
        np.testing.assert_array_equal(check_pixels(array[None], "x")[0], GREY)
    over = (GREY / 255.0)[None] * 1.001  # as resizing leaves it
    assert np.abs(check_pixels(over, "x")[0].astype(int) - GREY).max() <= 1
    assert check_pixels(GREY[None] > 99, "x").max() == 255
    for shape, hint in (
        ((6, 8, 3), r"array\[None\] for one image"),
        ((6, 8), r"array\[None\]"),
        ((2, 3, 6, 8), "moveaxis"),
    ):
        with pytest.raises(DataError, match=hint):
            check_pixels(np.zeros(shape, np.uint8), "the array", alone=True)


def test_large_photographs_are_shrunk_and_places_in_pixels_are_not(tmp_path: Path) -> None:
    wide = np.tile(np.arange(256, dtype=np.uint8), (30, 40))[:, :9000]
    for ending in ("png", "jpg", "gif"):
        save(tmp_path / f"x.{ending}", wide)
        pixels = open_image(tmp_path / f"x.{ending}")
        assert pixels.shape[1] <= LONGEST < 3 * pixels.shape[1]
        assert open_whole(tmp_path / f"x.{ending}").shape[:2] == (30, 9000)
        assert read_images(tmp_path / f"x.{ending}", memory=0).images.shapes[0] == pixels.shape


def test_a_picture_that_could_fill_the_memory_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path / "x.png", np.zeros((40, 40), np.uint8))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    assert isinstance(open_image(tmp_path / "x.png"), np.ndarray)  # Pillow's warning is not passed on
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with pytest.raises(DataError, match=r"more than 1,000 pixels, which could fill the memory"):
        read_images(tmp_path / "x.png")


def test_upright_moving_cut_and_deep_pictures(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    Image.fromarray(GREY).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(open_image(tmp_path / "turned.png"), np.rot90(GREY, -1))
    frames = [Image.fromarray(GREY), Image.fromarray(255 - GREY)]
    folder = tmp_path / "a"
    folder.mkdir()
    for ending in ("gif", "png", "tif"):
        frames[0].save(folder / f"moving.{ending}", save_all=True, append_images=frames[1:])
    Image.fromarray(COLOR).save(folder / "still.png")
    (folder / "cut.png").write_bytes((folder / "still.png").read_bytes()[:80])
    Image.fromarray(GREY.astype(np.float32)).save(folder / "float.tif")
    Image.fromarray(GREY.astype(np.int32) * 70_000).save(folder / "deep.tif")
    found = read_images(tmp_path / "a")
    text = " ".join(found.notices)
    assert "3 of 7 images have several frames" in text
    for name, why in (("cut.png", "truncated"), ("float.tif", "decimal point"), ("deep.tif", "32 bits a channel")):
        assert f"{name} (" in text
        assert why in text


def test_colours_are_looked_for_in_all_of_a_sorted_set() -> None:
    images = np.repeat(RNG.integers(0, 256, (600, 4, 4, 1)), 3, axis=3).astype(np.uint8)
    images[400:, ..., 0] = 255 - images[400:, ..., 1]
    assert ImageEncoder.fit(images).channels == 3


def test_masks_and_texts_do_without_leftovers(tmp_path: Path) -> None:
    for number in range(3):
        save(tmp_path / "scenes" / "images" / f"{number}.png")
        save(tmp_path / "scenes" / "masks" / f"{number}.png", (GREY > 128).astype(np.uint8))
        for label in ("good", "bad"):
            file = tmp_path / "texts" / label / f"{number}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(f"{label} text {number}")
            file.with_name(f"._{number}.txt").write_bytes(b"\0\1\2")
    for folder in (
        tmp_path / "scenes",
        tmp_path / "scenes" / "images",
        tmp_path / "scenes" / "masks",
        tmp_path / "texts",
    ):
        litter(folder)
    shutil.rmtree(tmp_path / "texts" / "notes")
    assert is_mask_source(tmp_path / "scenes")
    assert len(read_masks(tmp_path / "scenes")) == 3
    assert sorted(read_texts(tmp_path / "texts").labels) == ["bad"] * 3 + ["good"] * 3
