"""The pack: the one form in which every dataset lies on disk. `layout` says what the bytes are; see docs/pack.md."""

from segdata.pack.read import Pack, open_pack

__all__ = ["Pack", "open_pack"]
