"""Samples: augmentation that depends on seed, epoch and index alone; normalization; batches; unreadable images."""

from collections import Counter

import numpy as np
import pytest
import torch
from _vision import make_image_task, needs_torchvision, write_images

from labo_fairseq.errors import UserError
from labo_fairseq.vision.dataset import ImageDataset
from labo_fairseq.vision.images import ArrayImages
from labo_fairseq.vision.transforms import channel_statistics, evaluation_transform, normalized, training_transform

pytestmark = needs_torchvision


def random_images(count=40, channels=3, size=12):
    pixels = torch.randint(0, 256, (count, channels, size, size), generator=torch.Generator().manual_seed(0))
    return ArrayImages("random", range(5), np.arange(count) % 5, pixels.byte())


def make_dataset(seed=1, augmentation="crop_flip", images=None, **options):
    images = images or random_images()
    transform = training_transform(augmentation, 12, 2)
    return ImageDataset(images, transform, {"by": "none"}, 3, (12, 12), seed=seed, **options)


def test_augmentation_depends_on_seed_epoch_and_index_alone():
    data, again = make_dataset(), make_dataset()
    first = [data[i]["image"] for i in range(40)]
    torch.rand(7)  # whatever else uses torch's generator
    backwards = [again[i]["image"] for i in reversed(range(40))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, backwards, strict=True))
    for changed in (make_dataset(seed=2), make_dataset()):
        changed.set_epoch(1 if changed.seed == 2 else 2)
        same = sum(torch.equal(changed[i]["image"], first[i]) for i in range(40))
        assert same < 10  # 50 outcomes are equally likely


def test_drawing_leaves_torchs_generator_alone():
    data = make_dataset()
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    data[0]
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("workers", [0, 2])
def test_workers_draw_the_same(workers):
    data = make_dataset()
    data.set_epoch(3)
    loader = torch.utils.data.DataLoader(
        data, batch_sampler=data.batch_by_size(np.arange(40), max_sentences=16), collate_fn=data.collater,
        num_workers=workers,
    )  # fmt: skip
    images = torch.cat([batch["net_input"]["images"] for batch in loader])
    expected = data.collater([data[i] for i in range(40)])["net_input"]["images"]
    assert torch.equal(images, expected)


def test_a_shift_has_25_equally_likely_positions():
    """Müller et al. 2019, A.5: "random image shifts of plus or minus 2 pixels …, 25 equiprobable centerings"."""
    images = ArrayImages("dot", ["0"], np.zeros(2500), torch.zeros(2500, 1, 5, 5, dtype=torch.uint8))
    images.pixels[:, :, 2, 2] = 1
    data = ImageDataset(images, training_transform("shift", 5, 2), {"by": "none"}, 1, (5, 5), seed=0)
    where = Counter(tuple(data[i]["image"][0].nonzero()[0].tolist()) for i in range(2500))
    assert len(where) == 25
    assert sum((count - 100) ** 2 / 100 for count in where.values()) < 51.2  # chi², 24 degrees, p = 0.001


def test_crop_flip_is_a_window_of_the_padded_image_or_its_mirror():
    data = make_dataset()
    mirrored = 0
    for i in range(40):
        padded = torch.nn.functional.pad(data.images.read(i), (2, 2, 2, 2))
        windows = {
            flip: [padded[:, y : y + 12, x : x + 12].flip(-1) if flip else padded[:, y : y + 12, x : x + 12]
                   for y in range(5) for x in range(5)]
            for flip in (False, True)
        }  # fmt: skip
        found = [flip for flip, many in windows.items() if any(torch.equal(data[i]["image"], one) for one in many)]
        assert len(found) == 1
        mirrored += found[0]
    assert 8 <= mirrored <= 32


def test_evaluation_takes_the_image_as_it_is():
    data = ImageDataset(random_images(), evaluation_transform("crop_flip", 12), {"by": "none"}, 3, (12, 12))
    assert torch.equal(data[3]["image"], data.images.read(3))
    assert data.ordered_indices().tolist() == list(range(40)) and data.can_reuse_epoch_itr_across_epochs
    smaller = evaluation_transform("crop_flip", 8)(data.images.read(3))
    assert torch.equal(smaller, data.images.read(3)[:, 2:10, 2:10])


def test_resized_crop():
    image = torch.randint(0, 256, (3, 40, 60), dtype=torch.uint8)
    assert evaluation_transform("resized_crop", 28)(image).shape == (3, 28, 28)
    assert training_transform("resized_crop", 28, 0)(image).shape == (3, 28, 28)


def test_normalizations():
    images = random_images()
    batch = images.pixels[:8]
    x = batch.double() / 255
    mean, std = channel_statistics(images.read(i) for i in range(40))
    everything = images.pixels.double() / 255
    np.testing.assert_allclose(mean, everything.mean((0, 2, 3)), atol=1e-12)
    np.testing.assert_allclose(std, everything.std((0, 2, 3), correction=0), atol=1e-12)
    got = normalized(batch.clone(), {"by": "channel", "mean": mean, "std": std}).double()
    expected = (x - everything.mean((0, 2, 3), keepdim=True)) / everything.std((0, 2, 3), correction=0, keepdim=True)
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    got = normalized(batch.clone(), {"by": "image"})
    torch.testing.assert_close(got.mean((1, 2, 3)), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(got.std((1, 2, 3), correction=0), torch.ones(8), atol=1e-5, rtol=0)
    assert normalized(torch.full((1, 1, 2, 2), 7).byte(), {"by": "image"}).eq(0).all()  # a plain image stays finite
    torch.testing.assert_close(normalized(batch.clone(), {"by": "none"}), x.float())


def test_a_batch():
    data = make_dataset(seed=None)
    batch = data.collater([data[3], data[7]])
    assert batch["nsentences"] == batch["ntokens"] == 2
    assert batch["id"].tolist() == [3, 7] and batch["target"].tolist() == [3, 2]
    assert batch["net_input"]["images"].shape == (2, 3, 12, 12)
    assert batch["net_input"]["images"].dtype == torch.float32 and batch["target"].dtype == torch.int64


def test_batches_have_the_size_asked_for():
    data = make_dataset(seed=None)
    batches = data.batch_by_size(data.ordered_indices(), max_sentences=15, required_batch_size_multiple=8)
    assert [len(batch) for batch in batches] == [15, 15, 10]
    assert np.concatenate(batches).tolist() == list(range(40))


def test_training_batches_are_drawn_anew_each_epoch():
    data = make_dataset()
    first = data.ordered_indices()
    assert sorted(first) == list(range(40)) and first.tolist() != sorted(first)
    data.set_epoch(2)
    assert data.ordered_indices().tolist() != first.tolist() and not data.can_reuse_epoch_itr_across_epochs


# --- files that do not fit ---


def test_a_corrupt_image_is_named_and_skipped_only_on_request(tmp_path, caplog):
    write_images(tmp_path / "train", count=4)
    bad = tmp_path / "train" / "cat" / "1.png"
    bad.write_bytes(bad.read_bytes()[:60])
    with pytest.raises(UserError, match=r"cat/1.png: cannot be read as an image \(.*\): replace it, or give --skip"):
        make_image_task(tmp_path, valid_share=0.25).load_dataset("train")
    task = make_image_task(tmp_path, valid_share=0, skip_corrupt_images=True)
    task.load_dataset("train")
    data = task.dataset("train")
    assert len(data) == 8
    batch = data.collater([data[i] for i in range(8)])
    assert batch["id"].tolist() == [0, 2, 3, 4, 5, 6, 7] and batch["ntokens"] == 7
    assert "skipped: " in caplog.text and "cat/1.png" in caplog.text
    assert data.collater([data[1]]) == {}


def test_a_text_file_with_the_name_of_an_image(tmp_path):
    write_images(tmp_path / "train")
    (tmp_path / "train" / "cat" / "9.jpg").write_text("no image")
    with pytest.raises(UserError, match=r"9.jpg: cannot be read as an image"):
        make_image_task(tmp_path, valid_share=0).load_dataset("train")


@pytest.mark.parametrize("first, other, kind", [("RGB", "L", "greyscale"), ("L", "RGB", "colour")])
def test_greyscale_among_colour_and_the_reverse(tmp_path, first, other, kind):
    write_images(tmp_path / "train", ["cat", "dog"], mode=first)
    write_images(tmp_path / "train", ["dog"], mode=other)
    flags = {"valid_share": 0, "normalization": "none"}
    task = make_image_task(tmp_path, **flags)
    task.load_dataset("train")
    with pytest.raises(UserError, match=rf"dog/0.png: a {kind} image among .*--image-mode rgb or --image-mode grey"):
        task.dataset("train")[3]
    for mode, channels in (("rgb", 3), ("grey", 1)):
        task = make_image_task(tmp_path, **flags, image_mode=mode)
        task.load_dataset("train")
        assert {task.dataset("train")[i]["image"].shape[0] for i in range(6)} == {channels}


def test_an_image_of_another_size(tmp_path):
    write_images(tmp_path / "train", ["cat"], size=16)
    write_images(tmp_path / "train", ["dog"], size=20)
    task = make_image_task(tmp_path, valid_share=0, normalization="none")
    task.load_dataset("train")
    with pytest.raises(UserError, match=r"dog/0.png: 20×20 pixels, not 16×16: give --augmentation resized_crop"):
        task.dataset("train")[3]
    resize = {"augmentation": "resized_crop", "image_size": 14, "normalization": "image"}
    task = make_image_task(tmp_path, valid_share=0, **resize)
    task.load_dataset("train")
    task.load_dataset("train", task_cfg=task.cfg)  # to evaluate
    assert task.dataset("train")[3]["image"].shape == (3, 14, 14) and task.dataset("train").seed is None
