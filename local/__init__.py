"""The embedded AWS: the app, the workflow and the model on one machine, without an account."""
