"""The steps of a reading. Each takes what was stored, stores what it made, and may be run again."""

from node.steps.compare import compare_with_priors
from node.steps.deliver import deliver, fail
from node.steps.job import Assignment, Job
from node.steps.not_processed import say_if_not_processed
from node.steps.priors import find_priors, read_prior
from node.steps.read import infer
from node.steps.results import write_results
from node.steps.select import select_series

__all__ = [
    "Assignment",
    "Job",
    "compare_with_priors",
    "deliver",
    "fail",
    "find_priors",
    "infer",
    "read_prior",
    "say_if_not_processed",
    "select_series",
    "write_results",
]
