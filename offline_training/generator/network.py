"""The token model's network in torch: a small transformer, the condition added before every layer.

Attention is biased by distance (ALiBi, arXiv 2108.12409), so the same weights read a whole text in
training and one token at a time live.
"""

import warnings
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
from torch import nn
from torch.nn import functional

from realtime.generators.tokens import VOCABULARY


@dataclass(frozen=True)
class NetworkSize:
    """Of the transformer: about 0.6 million weights, 2.3 MB."""

    n_layers: int = 3
    n_heads: int = 4
    head_size: int = 28
    window: int = 256

    @property
    def width(self) -> int:
        """Of the residual stream."""
        return self.n_heads * self.head_size


class Layer(nn.Module):
    """Attention and a feed-forward network, both after a norm."""

    def __init__(self, size: NetworkSize) -> None:
        super().__init__()
        self.size = size
        self.before, self.between = nn.LayerNorm(size.width), nn.LayerNorm(size.width)
        self.look = nn.Linear(size.width, 3 * size.width)
        self.tell = nn.Linear(size.width, size.width)
        self.think = nn.Sequential(nn.Linear(size.width, 4 * size.width), nn.GELU(),
                                   nn.Linear(4 * size.width, size.width))

    def heads(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Queries, keys and values of shape (batch, heads, tokens, head size)."""
        shape = (x.shape[0], x.shape[1], 3, self.size.n_heads, self.size.head_size)
        query, key, value = self.look(self.before(x)).reshape(shape).permute(2, 0, 3, 1, 4)
        return query, key, value

    def finish(self, x: torch.Tensor, seen: torch.Tensor) -> torch.Tensor:
        """The stream after what was seen, shape (batch, heads, tokens, head size), is added and thought about."""
        x = x + self.tell(seen.transpose(1, 2).reshape(x.shape))
        return torch.add(x, self.think(self.between(x)))


class Network(nn.Module):
    """Scores of the next token at every place of a text.

    Parameters
    ----------
    dim : int
        Of the condition.
    size : NetworkSize
        Of the rest.
    mean, scale : float tensors of shape (dim,)
        What conditions are standardised by.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    slopes: torch.Tensor

    def __init__(self, dim: int, size: NetworkSize, mean: torch.Tensor, scale: torch.Tensor) -> None:
        super().__init__()
        self.size = size
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)
        self.register_buffer("slopes", 2.0 ** (-8.0 / size.n_heads * torch.arange(1, size.n_heads + 1)))
        self.meaning = nn.Embedding(VOCABULARY.size, size.width)
        self.read = nn.Sequential(nn.Linear(dim, size.width), nn.GELU())
        self.asks = nn.Linear(size.width, size.width * size.n_layers)
        self.layers = nn.ModuleList(Layer(size) for _ in range(size.n_layers))
        self.last = nn.LayerNorm(size.width)
        nn.init.normal_(self.meaning.weight, std=0.05)

    def ask(self, condition: torch.Tensor) -> torch.Tensor:
        """What the condition adds before each layer, shape (..., layers, width)."""
        standard = (condition - self.mean) / self.scale
        asked: torch.Tensor = self.asks(self.read(standard))
        return asked.reshape(*condition.shape[:-1], self.size.n_layers, self.size.width)

    def score(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of the next token; the table of meanings is read backwards."""
        return functional.linear(self.last(x), self.meaning.weight)

    def forward(self, tokens: torch.Tensor, conditions: torch.Tensor) -> torch.Tensor:
        """Scores of shape (batch, n, n_tokens) for texts (batch, n) with a condition (batch, n, dim) at every place."""
        n = tokens.shape[1]
        age = (torch.arange(n)[:, None] - torch.arange(n)[None]).float()
        bias = torch.where(age >= 0, -age * self.slopes[:, None, None], torch.tensor(float("-inf")))
        asked, x = self.ask(conditions), self.meaning(tokens)
        for number, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            x = x + asked[:, :, number]
            query, key, value = layer.heads(x)
            x = layer.finish(x, functional.scaled_dot_product_attention(query, key, value, attn_mask=bias))
        return self.score(x)


class OneStep(nn.Module):
    """The same network, one token at a time, with the keys and values of earlier ones handed in."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, tokens: torch.Tensor, condition: torch.Tensor, cache: torch.Tensor,
                ages: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores (1, n_tokens) and this token's keys and values (layers, 2, heads, head size).

        Parameters
        ----------
        tokens : int64 tensor of shape (1,)
            The token.
        condition : float tensor of shape (1, dim)
            Beside it.
        cache : float tensor of shape (layers, 2, heads, window, head size)
            Earlier keys and values, in any order.
        ages : float tensor of shape (window,)
            How many tokens ago each was; huge for empty slots.
        """
        network = self.network
        asked, x, entries = network.ask(condition), network.meaning(tokens)[None], []
        bias = -torch.cat([ages, torch.zeros(1)])[None, None] * network.slopes[:, None, None]
        for number, layer in enumerate(network.layers):
            assert isinstance(layer, Layer)
            x = x + asked[:, None, number]
            query, key, value = layer.heads(x)
            entries.append(torch.stack([key[0, :, 0], value[0, :, 0]]))
            keys = torch.cat([cache[number, 0], key[0]], dim=1)
            values = torch.cat([cache[number, 1], value[0]], dim=1)
            weights = torch.softmax(query[0] @ keys.transpose(1, 2) * layer.size.head_size**-0.5 + bias, dim=-1)
            x = layer.finish(x, (weights @ values)[None])
        return network.score(x)[0], torch.stack(entries)


def to_onnx(network: Network) -> bytes:
    """The one-step graph as an ONNX file, weights inside."""
    size, dim = network.size, network.mean.shape[0]
    cache = torch.zeros(size.n_layers, 2, size.n_heads, size.window, size.head_size)
    example = (torch.zeros(1, dtype=torch.int64), torch.zeros(1, dim), cache, torch.full((size.window,), 1e6))
    with TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the newer exporter needs one package more, and is three times slower
        path = Path(folder) / "model.onnx"
        torch.onnx.export(OneStep(network.eval()), example, path, dynamo=False, opset_version=17,
                          input_names=["tokens", "condition", "cache", "ages"], output_names=["scores", "entry"])
        return path.read_bytes()
