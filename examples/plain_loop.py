"""LABO in a loop of one's own, with the projection fused: a model that returns hidden states, and its output layer.

pip install labo_fairseq
python examples/plain_loop.py
"""

import torch
from torch import nn

from labo_fairseq.losses import Labo

torch.manual_seed(1)
TYPES, PAD = 1000, 0
tokens = torch.randint(1, TYPES, (64, 1)).repeat(1, 12)  # each sentence repeats one word
tokens[::3, 9:] = PAD
embedding, body = nn.Embedding(TYPES, 32), nn.GRU(32, 32, batch_first=True)
head = nn.Linear(32, TYPES)

# ten lines from here
loss = Labo(warmup_steps=10, ignore_index=PAD)
parameters = [p for module in (embedding, body, head) for p in module.parameters()]
optimizer = torch.optim.Adam(parameters, lr=1e-2)
loss.follow(optimizer)  # its steps end the warm-up; loss.state_dict() belongs into the checkpoint
for update in range(60):
    hidden, _ = body(embedding(tokens[:, :-1]))
    value = loss(hidden, tokens[:, 1:], weight=head.weight, bias=head.bias)
    optimizer.zero_grad()
    value.backward()
    optimizer.step()
    if update % 20 == 0:
        print(f"update {update}: {value.item():.3f}")

# a regularized loss is not comparable across methods; the plain cross entropy is
nll = nn.functional.cross_entropy(head(hidden).flatten(0, 1), tokens[:, 1:].flatten(), ignore_index=PAD)
print(f"cross entropy {nll.item():.3f}")
