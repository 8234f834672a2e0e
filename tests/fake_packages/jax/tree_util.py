"""Leaves and structure of nested tuples."""


def tree_leaves(tree):
    return tree_flatten(tree)[0]


def tree_flatten(tree):
    if not isinstance(tree, tuple):
        return [tree], None
    parts = [tree_flatten(part) for part in tree]
    return [leaf for leaves, _ in parts for leaf in leaves], [(len(leaves), shape) for leaves, shape in parts]


def tree_unflatten(shape, leaves):
    if shape is None:
        return leaves[0]
    parts, begin = [], 0
    for n, inner in shape:
        parts.append(tree_unflatten(inner, leaves[begin : begin + n]))
        begin += n
    return tuple(parts)
