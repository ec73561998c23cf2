"""Imports that every step worker needs; the forkserver pays for them once.

Belongs here: imports only. Does not belong here: tensors, CUDA, clients, threads, anything with state.
The private dagster modules are what a worker loads to reach its instance; a test imports this module and looks for
them, because the forkserver swallows an ImportError.
"""

import alembic.command
import dagster._core.run_coordinator
import dagster._core.scheduler
import dagster._core.storage.event_log
import dagster._core.storage.local_compute_log_manager
import dagster._core.storage.root
import dagster._core.storage.runs
import dagster._core.storage.schedules
import dagster._core.storage.sqlite_storage
import duckdb
import great_expectations
import sqlalchemy.dialects.sqlite
import torch

# Named, so that no tool takes the imports for unused and removes them.
PRELOADED = (alembic, dagster, duckdb, great_expectations, sqlalchemy, torch)
