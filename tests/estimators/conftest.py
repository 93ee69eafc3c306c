"""Without scikit-learn there are no estimators, and nothing here to test."""

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("sklearn") else ["test_*.py"]
