"""The pack: the format in which segdata stores every dataset. `layout` defines the bytes; see docs/pack.md."""

from segdata.pack.read import Pack, open_pack

__all__ = ["Pack", "open_pack"]
