"""Errors of the offline programs.

TrainingError
├── SimulationError    settings no scan could have, or a simulated subject that cannot be built
├── DatasetError       recordings, stimuli or a corpus that are missing, damaged or do not fit together
└── FitError           a model that cannot be fitted to what was given

Every message says what, which one, got, wanted, and what to do.
"""


class TrainingError(Exception):
    """Root of everything the offline programs raise on purpose."""


class SimulationError(TrainingError):
    """Settings no scan could have, or a simulated subject that cannot be built."""


class DatasetError(TrainingError):
    """Recordings, stimuli or a corpus that are missing, damaged or do not fit together."""


class FitError(TrainingError):
    """A model that cannot be fitted to what was given."""
