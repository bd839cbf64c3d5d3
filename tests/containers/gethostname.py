"""Stands where the training toolkit looks for the one module that it compiles, which jobs on several hosts use alone.

So the environment is made without a compiler.
"""
