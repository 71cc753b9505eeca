"""securefl: secure aggregation for federated learning that can be attacked, measured and trusted."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("securefl")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
