"""Hypothesis profiles: "ci" is the same in every run, "thorough" finds more, "scan" is for its random cells; tests of `dot`."""

import os
import shutil

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "ci", max_examples=40, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile(
    "thorough", max_examples=400, derandomize=False, deadline=None, suppress_health_check=list(HealthCheck)
)
settings.register_profile(
    "scan", max_examples=2000, derandomize=False, deadline=None, suppress_health_check=list(HealthCheck), print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what compares renderers where there is one only; .ci/run installs `dot` and runs these."""
    if shutil.which("dot") is None:
        out = [item for item in items if item.get_closest_marker("dot")]
        config.hook.pytest_deselected(items=out)
        items[:] = [item for item in items if item not in out]
