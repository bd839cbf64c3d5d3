"""The commands of `python -m infrastructure`, one file each: options in, calls, words out."""
