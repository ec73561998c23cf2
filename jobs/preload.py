"""Imports that every step worker needs; the forkserver pays for them once.

Belongs here: imports only. Does not belong here: tensors, CUDA, clients, threads, anything with state.
The private dagster modules are what a worker loads to reach its instance; a test imports this module, because
the forkserver swallows an ImportError.
"""
