"""The one part of jax that the worker asks: what a nested state is made of."""

from jax import tree_util as tree_util
