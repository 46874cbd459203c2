"""Imported by the fork server of tests: what a first search loads and prepares for good is then in every fork."""

import tempfile
from pathlib import Path

from tests.search import test_job_study, test_killed

with tempfile.TemporaryDirectory() as folder:
    test_killed.go(f"sqlite:///{Path(folder) / 'killed.db'}")
    test_job_study.go(f"sqlite:///{Path(folder) / 'jobs.db'}")
