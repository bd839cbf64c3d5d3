"""What `python -m infrastructure` and `python -m training` share: how they talk to people and to AWS."""
