"""Where S3's credentials and region come from beside the environment: the files that AWS's own tools write.

Instance roles and tokens of containers are found by the library itself, as are Google's and Azure's.
"""

from __future__ import annotations

import configparser
import os
from pathlib import Path

_NAMES = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}


def of_files() -> dict[str, str]:
    """Settings of a store of S3 from `~/.aws/credentials` and `~/.aws/config`; nothing where the environment has a key."""
    profile = os.environ.get("AWS_PROFILE", "default")
    folder = Path.home() / ".aws"
    config = _section(os.environ.get("AWS_CONFIG_FILE") or folder / "config", ("profile " + profile, profile))
    settings = {"region": config["region"]} if "region" in config and not _has_region() else {}
    if "AWS_ACCESS_KEY_ID" in os.environ or os.environ.get("AWS_SKIP_SIGNATURE"):
        return settings
    credentials = (
        _section(os.environ.get("AWS_SHARED_CREDENTIALS_FILE") or folder / "credentials", (profile,)) or config
    )
    return settings | {name: credentials[key] for key, name in _NAMES.items() if key in credentials}


def _has_region() -> bool:
    return any(os.environ.get(name) for name in ("AWS_REGION", "AWS_DEFAULT_REGION"))


def _section(file: str | Path, names: tuple[str, ...]) -> dict[str, str]:
    parser = configparser.RawConfigParser()
    try:
        parser.read(file, encoding="utf-8")
    except (OSError, configparser.Error, UnicodeDecodeError):
        return {}
    return next((dict(parser[name]) for name in names if parser.has_section(name)), {})
