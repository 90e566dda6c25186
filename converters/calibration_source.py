"""Where a calibration comes from, faces or a file, and whether evaluation faces are others."""

from edgefer import calibration_data
from edgefer.converters.calibration.result import CalibrationResult
from edgefer.converters.conversion import faces_hash
from edgefer.data.disjoint import require_disjoint
from edgefer.data.faces import LabelledFaces
from edgefer.errors import DataError

Calibration = LabelledFaces | CalibrationResult


def require_apart(calibration: Calibration, evaluation: LabelledFaces) -> bool:
    """Return whether evaluation faces are known to be no calibration faces.

    A calibration file holds no faces: unless it is of the bundled ones, nothing is known but
    that it is not of just the same faces. Raises DataError where some are in both.
    """
    if isinstance(calibration, LabelledFaces):
        require_disjoint(calibration, evaluation)
        return True
    if calibration.faces_hash == faces_hash(evaluation):
        raise DataError(
            evaluation.source,
            "its faces are those that the calibration file was made of; evaluate on others",
        )
    bundled = calibration_data.calibration_faces()
    if calibration.faces_hash != faces_hash(bundled):
        return False
    require_disjoint(bundled, evaluation)
    return True


def comparison_faces(calibration: Calibration) -> LabelledFaces:
    """Return faces to compare models on: those calibrated with, or the bundled ones for a file."""
    if isinstance(calibration, LabelledFaces):
        return calibration
    return calibration_data.calibration_faces()
