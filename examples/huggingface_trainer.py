"""LABO in Hugging Face's Trainer: a tiny translation model (Marian) or language model (GPT-2) from random weights.

  pip install labo_fairseq transformers accelerate
  python examples/huggingface_trainer.py --model marian --out run
  python examples/huggingface_trainer.py --model gpt2 --out run --raw-dir multi30k --updates 200

--raw-dir is a folder with train.de.gz, train.en.gz, val.de.gz, val.en.gz, as Multi30k comes; without it, sentences of
the embedded synthetic corpus are used. Words are the tokens: the example is about the loss. Prints a line of JSON: the
loss of the first and of the last update, and on the validation set the plain cross entropy per token (nats), by which
methods can be compared.
"""

import argparse
import gzip
import json
from pathlib import Path

import torch
from labo_fairseq.data_prep import embedded
from transformers import GPT2Config, GPT2LMHeadModel, MarianConfig, MarianMTModel, Trainer, TrainingArguments

from labo_fairseq.huggingface import TrainerLoss
from labo_fairseq.losses import Labo

PAD, EOS, UNKNOWN = 0, 1, 2


def main():
    """Train, evaluate, print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--model", choices=["marian", "gpt2"], default="marian")
    parser.add_argument("--projection", choices=["dense", "fused"], default="fused")
    parser.add_argument("--raw-dir", type=Path, metavar="DIR")
    parser.add_argument("--sentences", type=int, default=1000, metavar="N", help="of the training set")
    parser.add_argument("--updates", type=int, default=60, metavar="N")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR")
    args = parser.parse_args()
    torch.manual_seed(1)

    pairs = sentence_pairs(args.raw_dir, args.sentences)
    words = sorted({word for pair in pairs["train"] for side in pair for word in side.split()})
    index = {word: number for number, word in enumerate(words, start=3)}
    model = {"marian": marian, "gpt2": gpt2}[args.model](3 + len(words))
    examples = {split: [example(pair, index, args.model) for pair in part] for split, part in pairs.items()}

    # the warm-up takes a tenth of the training; LABO's own objective follows
    loss = TrainerLoss(Labo(warmup_steps=args.updates // 10), model, projection=args.projection)
    arguments = TrainingArguments(
        args.out,
        max_steps=args.updates,
        per_device_train_batch_size=8,
        gradient_accumulation_steps=2,
        learning_rate=2e-3,
        logging_steps=1,
        logging_first_step=True,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=not torch.cuda.is_available(),
    )
    trainer = Trainer(
        model,
        arguments,
        train_dataset=examples["train"],
        data_collator=lambda batch: collate(batch, model),
        compute_loss_func=loss,
    )
    loss.follow(trainer)
    trainer.train()

    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    nll = validation_nll(model, examples["val"])
    print(json.dumps({"model": args.model, "first": losses[0], "last": losses[-1], "val_nll": round(nll, 4)}))


def sentence_pairs(folder, count):
    """{"train", "val": [(German, English)]}; validation has at most 200 pairs."""
    if folder is None:
        pairs = embedded.generate()
        return {"train": pairs["train"][:count], "val": pairs["valid"][:200]}

    def lines(split, language):
        with gzip.open(folder / f"{split}.{language}.gz", "rt", encoding="utf-8") as file:
            return [line.strip() for line in file]

    limits = {"train": count, "val": 200}
    return {
        split: list(zip(lines(split, "de"), lines(split, "en"), strict=True))[:limit] for split, limit in limits.items()
    }


def example(pair, index, model):
    """Numbers of a sentence pair; a language model sees both sentences in a row."""
    source, target = ([index.get(word, UNKNOWN) for word in side.split()] + [EOS] for side in pair)
    if model == "marian":
        return {"input_ids": source, "labels": target}
    return {"input_ids": source + target, "labels": source + target}


def collate(batch, model):
    """Tensors, padded on the right; the labels' padding is -100, which no loss counts."""

    def padded(name, value):
        rows = [torch.tensor(one[name]) for one in batch]
        return torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=value)

    tensors = {"input_ids": padded("input_ids", PAD), "labels": padded("labels", -100)}
    tensors["attention_mask"] = tensors["input_ids"].ne(PAD).long()
    if model.config.is_encoder_decoder:
        # Trainer takes the labels out of the batch, so that the decoder's input has to be made of them here
        tensors["decoder_input_ids"] = model.prepare_decoder_input_ids_from_labels(tensors["labels"])
    return tensors


def marian(types):
    """A tiny translation model."""
    return MarianMTModel(
        MarianConfig(
            vocab_size=types,
            d_model=32,
            encoder_layers=1,
            decoder_layers=1,
            encoder_attention_heads=2,
            decoder_attention_heads=2,
            encoder_ffn_dim=64,
            decoder_ffn_dim=64,
            pad_token_id=PAD,
            eos_token_id=EOS,
            forced_eos_token_id=EOS,
            decoder_start_token_id=PAD,
        )
    )


def gpt2(types):
    """A tiny language model."""
    config = GPT2Config(
        vocab_size=types, n_embd=32, n_layer=2, n_head=2, n_positions=128, bos_token_id=EOS, eos_token_id=EOS
    )
    return GPT2LMHeadModel(config)


@torch.no_grad()
def validation_nll(model, examples):
    """Cross entropy per token in nats, by the model's own loss."""
    model.eval()
    total = count = 0
    for start in range(0, len(examples), 50):
        batch = collate(examples[start : start + 50], model)
        labels = batch["labels"] if model.config.is_encoder_decoder else batch["labels"][:, 1:]
        tokens = int(labels.ne(-100).sum())
        total += float(model(**{key: x.to(model.device) for key, x in batch.items()}).loss) * tokens
        count += tokens
    return total / count


if __name__ == "__main__":
    main()
