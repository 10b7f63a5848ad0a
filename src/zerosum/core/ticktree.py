"""
An ordered map from rank to value over a huge, mostly empty range: a tree of nodes of 64.

    rank  = digits of 6 bits                    node (66 words)
            [ d2 | d1 | d0 ]                      PARENT      the node above plus one; 1 at a root (so word 0 is never 0)
               |    |    |                        OCCUPANCY   bit d set: child d is there
       root ---+    |    |                        CHILDREN    64 nodes below, or in a leaf 64 values
       node --------+    |
       leaf -------------+                      3 levels span 262,144 ranks, 7 span 2**42

Nodes are made on demand and given back when empty; the trees of all books share one pool of them. The lowest set bit of an occupancy
word, at each level, leads to the first value. Only one direction is ever needed: a side of the book ranks its prices so that the best
is lowest.

Always true (see TickTree.check): a bit is set exactly where the child is not 0, and no node but the root is empty.
"""

from __future__ import annotations

from typing import Final, final

from librt.vecs import vec
from mypy_extensions import i64

from zerosum.core.bits import bit, lowest_bit
from zerosum.core.pool import NONE, Pool

PARENT: Final = 0
OCCUPANCY: Final = 1
CHILDREN: Final = 2
NODE_WORDS: Final = 66

DIGIT_BITS: Final = 6
DIGIT_MASK: Final = 63


def first_below(nodes: vec[i64], node: i64, shift: i64) -> i64:
    while shift >= 0:
        node = nodes[node + CHILDREN + lowest_bit(nodes[node + OCCUPANCY])]
        shift -= DIGIT_BITS
    return node


def set_child(nodes: vec[i64], node: i64, digit: i64, child: i64) -> None:
    nodes[node + CHILDREN + digit] = child
    nodes[node + OCCUPANCY] |= bit(digit)


def clear_child(nodes: vec[i64], node: i64, digit: i64) -> bool:
    """True: that was the node's last child."""
    nodes[node + CHILDREN + digit] = NONE
    left = nodes[node + OCCUPANCY] & ~bit(digit)
    nodes[node + OCCUPANCY] = left
    return left == 0


def top_shift(ranks: i64) -> i64:
    """How far a rank below `ranks` is shifted to give the root's digit."""
    top: i64 = 0
    while ranks - 1 >> top > DIGIT_MASK:
        top += DIGIT_BITS
    return top


@final
class TickTree:
    """Values (slots, never 0) by rank."""

    __slots__ = ("pool", "root", "top")

    def __init__(self, ranks: i64, pool: Pool) -> None:
        self.top: i64 = top_shift(ranks)
        self.pool = pool
        self.root: i64 = NONE

    def open(self) -> None:
        self.root = self.new_node(NONE)

    def new_node(self, parent: i64) -> i64:
        node = self.pool.take()
        nodes = self.pool.words
        nodes[node + PARENT] = parent + 1
        nodes[node + OCCUPANCY] = 0
        return node

    def get(self, rank: i64) -> i64:
        leaf = self.find_leaf(rank)
        if leaf == NONE:
            return NONE
        return self.pool.words[leaf + CHILDREN + (rank & DIGIT_MASK)]

    def put(self, rank: i64, value: i64) -> None:
        leaf = self.find_leaf(rank)
        if leaf == NONE:
            leaf = self.make_leaf(rank)
        set_child(self.pool.words, leaf, rank & DIGIT_MASK, value)

    def remove(self, rank: i64) -> None:
        nodes = self.pool.words
        node = self.find_leaf(rank)
        shift: i64 = 0
        while clear_child(nodes, node, rank >> shift & DIGIT_MASK) and node != self.root:
            parent = nodes[node + PARENT] - 1
            self.pool.give(node)
            node = parent
            shift += DIGIT_BITS

    def first(self) -> i64:
        """The value of the lowest rank, or 0."""
        nodes = self.pool.words
        if nodes[self.root + OCCUPANCY] == 0:
            return NONE
        return first_below(nodes, self.root, self.top)

    def after(self, rank: i64) -> i64:
        """The value of the next rank above `rank`, which must be in the tree; or 0."""
        nodes = self.pool.words
        node = self.find_leaf(rank)
        shift: i64 = 0
        while True:
            digit = bit(rank >> shift & DIGIT_MASK)
            above = nodes[node + OCCUPANCY] & -digit & ~digit
            if above != 0:
                found = nodes[node + CHILDREN + lowest_bit(above)]
                if shift == 0:
                    return found
                return first_below(nodes, found, shift - DIGIT_BITS)
            if node == self.root:
                return NONE
            node = nodes[node + PARENT] - 1
            shift += DIGIT_BITS

    def find_leaf(self, rank: i64) -> i64:
        """The leaf that covers `rank`, or 0."""
        nodes = self.pool.words
        node = self.root
        shift = self.top
        while shift > 0 and node != NONE:
            node = nodes[node + CHILDREN + (rank >> shift & DIGIT_MASK)]
            shift -= DIGIT_BITS
        return node

    def make_leaf(self, rank: i64) -> i64:
        node = self.root
        shift = self.top
        while shift > 0:
            digit = rank >> shift & DIGIT_MASK
            child = self.pool.words[node + CHILDREN + digit]
            if child == NONE:
                child = self.new_node(node)
                set_child(self.pool.words, node, digit, child)
            node = child
            shift -= DIGIT_BITS
        return node

    def items(self) -> list[i64]:
        """Every value, in order of rank (slow: for depth and for tests)."""
        return self.items_below(self.root, self.top)

    def items_below(self, node: i64, shift: i64) -> list[i64]:
        found: list[i64] = []
        for digit in range(64):
            child = self.pool.words[node + CHILDREN + digit]
            if child != NONE and shift == 0:
                found.append(child)
            elif child != NONE:
                found.extend(self.items_below(child, shift - DIGIT_BITS))
        return found

    def check(self) -> i64:
        """How many nodes hang on the root."""
        assert self.pool.words[self.root + PARENT] == 1, "a root has no parent"
        return self.check_below(self.root, self.top)

    def check_below(self, node: i64, shift: i64) -> i64:
        nodes = self.pool.words
        count: i64 = 1
        for digit in range(64):
            child = nodes[node + CHILDREN + digit]
            assert (child != NONE) == (nodes[node + OCCUPANCY] & bit(digit) != 0), "a bit is set exactly where a child is"
            if shift > 0 and child != NONE:
                assert nodes[child + PARENT] == node + 1, "a node knows its parent"
                assert nodes[child + OCCUPANCY] != 0, "no node but the root is empty"
                count += self.check_below(child, shift - DIGIT_BITS)
        return count
