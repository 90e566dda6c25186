"""One bundle from start to end."""

from dataclasses import dataclass
from pathlib import Path

from edgefer.models.contract import StatedContract
from edgefer.progress import Progress
from edgefer.shipping import bundle_folder, golden_pictures, litert_js
from edgefer.shipping.bundle import Bundle, make_bundle, open_shipped
from edgefer.shipping.targets import WEB, Target


@dataclass(frozen=True, kw_only=True)
class ShippingJob:
    """What to ship and where to; `golden` is a folder of pictures, None for the bundled faces.

    `litert_js` is the npm package that the web target needs, None for the one on npm.
    """

    model: Path
    target: Target
    folder: Path
    stated: StatedContract
    golden: Path | None = None
    litert_js: Path | None = None
    force: bool = False


def ship(job: ShippingJob, *, progress: Progress | None = None) -> Bundle:
    """Write the bundle, whole or not at all; `progress` is of what is downloaded.

    Raises UsageError where the folder is taken or the model's contract incomplete, ModelError and
    DataError where the model or the pictures are unusable, OutputError where it cannot be written.
    """
    bundle_folder.require_free(job.folder, force=job.force)
    shipped = open_shipped(job.model, job.stated)
    pictures = (
        golden_pictures.bundled() if job.golden is None else golden_pictures.of_folder(job.golden)
    )
    libraries = None
    if job.target is WEB:
        libraries = litert_js.bundle_files(job.litert_js, progress=progress)
    bundle = make_bundle(shipped, job.target, pictures, libraries)
    bundle_folder.write(job.folder, bundle.files, force=job.force)
    return bundle
