"""HMS-FFI for Python: call services in any language, offer your own. See README.md."""

from .client import Client

__all__ = ["Client"]
__version__ = "0.1.0"
