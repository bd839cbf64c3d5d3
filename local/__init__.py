"""The embedded AWS: the app, the workflow and the model on one machine, without an account."""

HOST = "127.0.0.1"
"""Nobody else's business: everything embedded listens here alone."""

REGION = "us-east-1"

ACCOUNT = "123456789012"
"""moto's account, and the one in `.chalice/config.json` until a real one is written there."""
