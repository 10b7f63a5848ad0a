"""zerosum: a spot exchange whose every asset sums to zero."""

__version__ = "0.1.0"
