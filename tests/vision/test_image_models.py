"""Architectures: published sizes, the common interface, stems, half precision."""

import pytest
import torch
from _vision import make_image_model, needs_torchvision
from torch import nn

from labo_fairseq.errors import UserError

pytestmark = needs_torchvision

# Numbers that somebody else has published, for these images and classes.
PUBLISHED = [
    # torchvision's documentation, table of its classification weights
    ("resnet18", 3, 224, 1000, {}, 11_689_512),
    ("resnet34", 3, 224, 1000, {}, 21_797_672),
    ("resnet50", 3, 224, 1000, {}, 25_557_032),
    ("resnet152", 3, 224, 1000, {}, 60_192_808),
    ("mobilenet_v2", 3, 224, 1000, {}, 3_504_872),
    ("densenet121", 3, 224, 1000, {}, 7_978_856),
    # with 3×3 stem, as in github.com/kuangliu/pytorch-cifar, which many papers use: 11.17 and 21.28 million
    ("resnet18", 3, 32, 10, {}, 11_173_962),
    ("resnet34", 3, 32, 10, {}, 21_282_122),
    ("preact_resnet18", 3, 32, 10, {}, 11_171_146),
    # He et al. 2016a, table 6: 0.27 and 0.85 million; by layer: 3·16·9 + … , see test_resnet_for_cifar_by_hand
    ("resnet20", 3, 32, 10, {}, 269_722),
    ("resnet56", 3, 32, 10, {}, 853_018),
    # Zagoruyko and Komodakis 2016, table 4: 36.5 million; asserted as such for CIFAR-10 and -100 in osmr/imgclsmob
    ("wide_resnet28_10", 3, 32, 10, {}, 36_479_194),
    ("wide_resnet28_10", 3, 32, 100, {}, 36_536_884),
    # TensorFlow's CIFAR-10 tutorial: "It consists of 1,068,298 learnable parameters"
    ("alexnet_small", 3, 24, 10, {}, 1_068_298),
    # Caffe's LeNet for MNIST: 431k parameters
    ("two_conv", 1, 28, 10, {}, 431_080),
    # keras_hub and imgclsmob: 42,679,816
    ("inception_v4", 3, 299, 1000, {}, 42_679_816),
    # 784·1200 + 1200 + 1200·1200 + 1200 + 1200·10 + 10, and the same with 800
    ("fully_connected", 1, 28, 10, {}, 2_395_210),
    ("fully_connected", 1, 28, 10, {"hidden_size": 800}, 1_276_810),
]


def parameters(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name, channels, size, classes, flags, count", PUBLISHED)
def test_parameter_counts_are_the_published_ones(name, channels, size, classes, flags, count):
    with torch.device("meta"):
        model = make_image_model(name, channels, size, classes, **flags)
    assert parameters(model) == count


def test_resnext29_has_34_43_million():
    """Table of github.com/bearpaw/pytorch-classification (34.43); Xie et al. 2017, table 7: 34.4 million."""
    with torch.device("meta"):
        assert round(parameters(make_image_model("resnext29_8x64d")) / 1e6, 2) == 34.43


def test_resnet_for_cifar_by_hand():
    """Weights of 6n+2 layers (He et al. 2016a, section 4.2): convolutions, two per norm channel, the linear layer."""

    def by_hand(n):
        widths, inputs, convolutions = (16, 32, 64), 16, 3 * 16 * 9
        for width in widths:
            convolutions += inputs * width * 9 + (2 * n - 1) * width * width * 9
            inputs = width
        return convolutions + 2 * (16 + 2 * n * sum(widths)) + 64 * 10 + 10

    with torch.device("meta"):
        assert parameters(make_image_model("resnet20")) == by_hand(3) == 269_722
        assert parameters(make_image_model("resnet56")) == by_hand(9)


SHAPES = [
    ("resnet18", 3, 32, 512), ("resnet18", 1, 28, 512), ("resnet34", 3, 80, 512), ("resnet50", 3, 16, 2048),
    ("mobilenet_v2", 3, 32, 1280), ("densenet121", 1, 28, 1024), ("preact_resnet18", 1, 28, 512),
    ("resnet20", 1, 8, 64), ("resnet56", 3, 32, 64), ("alexnet_small", 3, 24, 192), ("alexnet_small", 3, 32, 192),
    ("fully_connected", 1, 28, 1200), ("two_conv", 1, 28, 500), ("inception_v4", 3, 75, 1536),
]  # fmt: skip


@pytest.mark.parametrize("name, channels, size, width", SHAPES)
def test_logits_are_the_classifier_of_the_features(name, channels, size, width):
    torch.manual_seed(0)
    model = make_image_model(name, channels, size, 7).eval()
    images = torch.rand(2, channels, size, size)
    with torch.no_grad():
        logits, features = model(images), model.features(images)
        assert logits.shape == (2, 7) and features.shape == (2, width)
        assert isinstance(model.classifier, nn.Linear)
        torch.testing.assert_close(model.classifier(features), logits)
        assert torch.equal(model(images, features_only=True), features)
        torch.testing.assert_close(model.get_normalized_probs(logits, log_probs=False), logits.softmax(-1))
    assert [parameter.param_group for parameter in model.parameters()] == [name for name, _ in model.named_parameters()]


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "densenet121"])
def test_the_stem_for_small_images_keeps_their_resolution(name):
    """On 32×32 the last feature map is 4×4 (the stem for large images would leave 1×1)."""

    def last_map(**flags):
        model = make_image_model(name, **flags).eval()
        sizes = []
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.register_forward_hook(lambda module, args, output: sizes.append(output.shape[-1]))
        model(torch.rand(1, 3, 32, 32))
        return sizes[-1]

    with torch.no_grad():
        assert last_map() == last_map(stem="small") == 4
        assert last_map(stem="imagenet") == 1


def test_no_integer_in_the_state_dict():
    """fairseq's EMA averages every entry, and multiplying an integer by 0.99 is an error."""
    state = make_image_model("resnet18").state_dict()
    assert all(tensor.is_floating_point() for tensor in state.values())


@pytest.mark.parametrize("cast", ["bfloat16", "half"])
def test_running_averages_stay_in_full_precision(cast):
    model = getattr(make_image_model("resnet20"), cast)()
    for name, tensor in model.state_dict().items():
        full = "norm" in name
        assert tensor.dtype == (torch.float32 if full else getattr(torch, cast)), name


def test_bfloat16_forward_is_close_to_float32():
    torch.manual_seed(0)
    model = make_image_model("resnet20").train()
    images = torch.rand(8, 3, 32, 32)
    expected = model(images)
    logits = model.bfloat16()(images.bfloat16())
    assert logits.dtype == torch.bfloat16
    torch.testing.assert_close(logits.float(), expected, atol=0.05, rtol=0.05)


def test_mistakes():
    for name, channels, size, flags, message in (
        ("inception_v4", 3, 32, {}, "--arch inception_v4: images of 32×32 pixels are too small: it needs 75"),
        ("two_conv", 1, 8, {}, "it needs 16 or more"),
        ("resnet18", 1, 224, {"pretrained": True}, "--pretrained: the weights are for colour images"),
        ("resnet18", 3, 32, {"pretrained": True, "stem": "small"}, "leave --stem small out"),
        ("fully_connected", 1, 28, {"dropout": 1.5}, "--dropout: 1.5"),
        ("fully_connected", 1, 28, {"init_std": 0.0}, "--init-std: 0.0"),
    ):
        with pytest.raises(UserError, match=message):
            make_image_model(name, channels, size, **flags)


def test_pretrained_weights(monkeypatch):
    """The body takes them whole; the last layer is new unless there are as many classes."""
    import torchvision
    from torchvision.models import ResNet18_Weights

    published = torchvision.models.resnet18().state_dict()
    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", lambda *a, **k: published)
    ten = make_image_model("resnet18", size=32, classes=10, pretrained=True)
    for name, tensor in ten.body.state_dict().items():
        assert torch.equal(tensor, published[name]), name
    assert ten.classifier.weight.shape == (10, 512)
    thousand = make_image_model("resnet18", size=224, classes=1000, pretrained=True)
    assert torch.equal(thousand.classifier.weight, published["fc.weight"])

    def fail(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(ResNet18_Weights, "get_state_dict", fail)
    with pytest.raises(UserError, match=r"--pretrained: the weights of resnet18 cannot be downloaded \(no network\)"):
        make_image_model("resnet18", size=224, pretrained=True)


@pytest.mark.gpu
def test_channels_last_and_bfloat16_on_a_gpu():
    model = make_image_model("resnet18").bfloat16().cuda()
    images = torch.rand(8, 3, 32, 32, device="cuda", dtype=torch.bfloat16)
    seen = []
    model.body.layer1.register_forward_hook(lambda module, args, output: seen.append(output))
    model(images).float().sum().backward()
    assert seen[0].is_contiguous(memory_format=torch.channels_last)
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
