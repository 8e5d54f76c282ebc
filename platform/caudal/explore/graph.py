"""Who matters in a network: degree, PageRank and betweenness of nodes that are linked through something in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from scipy.sparse import csr_array

#: Share of a random walk's steps that follow a link; the others go anywhere (Brin and Page 1998).
DAMPING = 0.85
#: Something that very many nodes have in common links each of them with each: refuse before memory runs out.
MOST_LINKS = 50_000_000

_TOLERANCE = 1e-12
_MOST_STEPS = 1_000
_SOURCES_AT_ONCE = 256


class TooManyLinks(ValueError):
    """The network would not fit into memory."""


def network_in_common(memberships: pa.Table, node: str, common: str) -> pa.Table:
    """The measures of the network in which two nodes are linked if they have at least one `common` in common.

    Links are undirected and have no weight. Rows in which either column is null count for nothing; repeated rows
    count once.

    Returns:
        One row a node, with columns `node` (named and typed as in `memberships`), `degree` (int64: linked nodes),
        `pagerank` (float64, sums to 1) and `betweenness` (float64, 0 to 1: the share of shortest paths between
        two others that pass through the node). The highest PageRank comes first, equals in the order of `node`.

    Raises:
        KeyError: a column does not exist.
        TooManyLinks: more than `MOST_LINKS` pairs have something in common.

    """
    import numpy as np
    import pyarrow as pa

    nodes, links = _links(memberships, node, common)
    rank = pagerank(links)
    # Nodes in the same position differ in the last bits, which depend on the machine: they count as equal.
    order = np.lexsort((np.arange(len(nodes)), -rank.round(12)))
    columns = {
        node: nodes.take(pa.array(order)),
        "degree": pa.array(np.diff(links.indptr)[order], pa.int64()),
        "pagerank": pa.array(rank[order], pa.float64()),
        "betweenness": pa.array(betweenness(links)[order], pa.float64()),
    }
    return pa.table(columns)


def count_links(network: pa.Table) -> int:
    """The number of linked pairs of nodes in a result of `network_in_common`."""
    return int(network["degree"].to_numpy().sum()) // 2


def pagerank(links: csr_array) -> np.ndarray[Any, np.dtype[np.float64]]:
    """PageRank by power iteration, to a total error below 1e-11. From a node without links a walk goes anywhere.

    Args:
        links: a square 0/1 matrix, `[i, j]` being the link from node i to node j.

    """
    import numpy as np

    size = links.shape[0]
    if size == 0:
        return np.empty(0)
    degree = np.diff(links.indptr)
    stuck = degree == 0
    incoming = links.T.tocsr()
    share = 1 / np.where(stuck, 1, degree)
    rank = np.full(size, 1 / size)
    for _ in range(_MOST_STEPS):
        anywhere = (DAMPING * rank[stuck].sum() + 1 - DAMPING) / size
        following = DAMPING * (incoming @ (rank * share)) + anywhere
        change = np.abs(following - rank).sum()
        rank = following
        if change < _TOLERANCE:
            break
    return rank / rank.sum()


def betweenness(links: csr_array) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Exact betweenness of an undirected network, normalized to at most 1 (Brandes 2001), many sources at a time.

    Args:
        links: a symmetric 0/1 matrix without a diagonal.

    """
    import numpy as np

    size = links.shape[0]
    total = np.zeros(size)
    for first in range(0, size, _SOURCES_AT_ONCE):
        total += _dependencies(links, np.arange(first, min(first + _SOURCES_AT_ONCE, size)))
    pairs = (size - 1) * (size - 2)
    return total / pairs if pairs > 0 else total


def _dependencies(links: csr_array, sources: np.ndarray[Any, np.dtype[np.int64]]) -> np.ndarray[Any, np.dtype[np.float64]]:
    """The sum over `sources` of each node's share in the shortest paths that start there."""
    import numpy as np

    each = np.arange(len(sources))
    paths = np.zeros((links.shape[0], len(sources)))
    paths[sources, each] = 1
    reached = paths > 0
    layers = [reached.copy()]
    while True:
        arriving = links @ np.where(layers[-1], paths, 0)
        layer = (arriving > 0) & ~reached
        if not layer.any():
            break
        paths[layer] = arriving[layer]
        reached |= layer
        layers.append(layer)
    dependency = np.zeros_like(paths)
    for nearer, farther in zip(layers[-2::-1], layers[:0:-1], strict=True):
        shares = np.divide(1 + dependency, paths, out=np.zeros_like(paths), where=farther)
        dependency += np.where(nearer, paths * (links @ shares), 0)
    dependency[sources, each] = 0
    return dependency.sum(axis=1)


def _links(memberships: pa.Table, node: str, common: str) -> tuple[pa.Array, csr_array]:
    """The nodes in ascending order, and the symmetric 0/1 matrix of their links."""
    import numpy as np
    import pyarrow as pa
    from scipy.sparse import csr_array

    known = pa.table({"node": memberships[node], "common": memberships[common]}).drop_null()
    pairs = known.group_by(["node", "common"]).aggregate([]).sort_by("node").combine_chunks()
    ends, shared = (pairs[side].combine_chunks().dictionary_encode() for side in ("node", "common"))
    row, column, nodes, commons = ends.indices.to_numpy(), shared.indices.to_numpy(), ends.dictionary, shared.dictionary
    sharers = np.bincount(column, minlength=len(commons)).astype(np.float64)
    if (sharers * (sharers - 1) / 2).sum() > MOST_LINKS:
        widest = int(sharers.argmax())
        raise TooManyLinks(
            f"more than {MOST_LINKS:,} pairs of {node} have a {common} in common; {commons[widest].as_py()!r} alone is "
            f"shared by {int(sharers[widest]):,}. Leave out what nearly all have in common, or choose another link."
        )
    belongs = csr_array((np.ones(len(row)), (row, column)), shape=(len(nodes), len(commons)))
    links = (belongs @ belongs.T).tocoo()
    others = links.row != links.col
    found = (np.ones(others.sum()), (links.row[others], links.col[others]))
    return nodes, csr_array(found, shape=links.shape)
