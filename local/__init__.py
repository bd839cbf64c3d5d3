"""The embedded AWS: the app, the workflow and the model on one machine, without an account."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
"""The folder that everything is in."""

HOST = "127.0.0.1"
"""Nobody else's business: everything embedded listens here alone."""

REGION = "us-east-1"

ACCOUNT = "123456789012"
"""moto's account, and the one in `.chalice/config.json` until a real one is written there."""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "local",
    "AWS_SECRET_ACCESS_KEY": "local",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_REGION": REGION,
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    "AWS_EC2_METADATA_DISABLED": "true",
}
"""Credentials that are none, and nowhere to find others."""

HIDDEN = ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS")
"""Environment variables that would lead to another AWS, beside `AWS_ENDPOINT_URL…`."""
