"""LABO in a Lightning module: a small network on the embedded digits, its warm-up by Lightning's own step.

  pip install labo_fairseq lightning
  python examples/lightning_module.py --epochs 3

Prints, of the held-out digits, the accuracy, the calibration error and the temperature that mends it.
"""

import argparse
import logging
from importlib.resources import files

import lightning
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from labo_fairseq.calibrate import expected_calibration_error, fit_temperature
from labo_fairseq.losses import Labo


class Classifier(lightning.LightningModule):
    """Two layers. The loss is a submodule; `global_step` counts updates, not batches, and survives a resume."""

    def __init__(self, warmup_steps=20):
        super().__init__()
        self.net = nn.Sequential(nn.Flatten(), nn.LazyLinear(64), nn.ReLU(), nn.Linear(64, 10))
        self.loss = Labo(warmup_steps=warmup_steps)

    def training_step(self, batch, _):
        """LABO's loss of a batch."""
        images, labels = batch
        loss = self.loss(self.net(images), labels, step=self.global_step)
        self.log("loss", loss)
        return loss

    def configure_optimizers(self):
        """Adam."""
        return torch.optim.Adam(self.parameters(), lr=3e-3)


def digits():
    """((images, labels) for training, (images, labels) held out)."""
    with files("labo_fairseq.vision").joinpath("digits.npz").open("rb") as file:
        data = np.load(file)
        images = torch.from_numpy(data["images"]).float() / float(data["images"].max())
        labels = torch.from_numpy(data["labels"]).long()
    held_out = torch.arange(len(labels)) % 4 == 0
    return (images[~held_out], labels[~held_out]), (images[held_out], labels[held_out])


def main():
    """Train, then print what the held-out digits show."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    logging.getLogger("lightning.pytorch").setLevel(logging.WARNING)
    lightning.seed_everything(1, verbose=False)
    train, (images, labels) = digits()
    model = Classifier()
    model.net(images[:1])  # LazyLinear learns its size
    trainer = lightning.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, DataLoader(TensorDataset(*train), batch_size=64, shuffle=True))
    with torch.no_grad():
        logits = model.eval().net(images)
    accuracy = float((logits.argmax(1) == labels).float().mean())
    error, temperature = expected_calibration_error(logits, labels), fit_temperature(logits, labels)
    print(f"updates {trainer.global_step}  accuracy {accuracy:.3f}  ece {error:.3f}  temperature {temperature:.2f}")


if __name__ == "__main__":
    main()
