"""The commands of `python -m training`, one module each: options in, a call, a table or JSON out."""
