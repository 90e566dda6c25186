"""Batch coupling in words."""

from edgefer.models.batch_coupling import BatchCoupling


def coupling_sentence(coupling: BatchCoupling) -> str:
    """Say plainly whether the trained network mixes the images of a batch."""
    if coupling.coupled is None:
        return f"Batch coupling not measured: {coupling.reason}"
    if not coupling.coupled:
        return (
            f"Not batch-coupled: {coupling.images} faces get the same answer alone and among "
            f"others (largest change of a probability {coupling.largest_change:.1g})"
        )
    return (
        f"Batch-coupled: among other faces {coupling.changed_answers} of {coupling.images} faces "
        f"get another answer than alone (a probability changes by up to "
        f"{coupling.largest_change:.2f}). Accuracy measured in batches does not hold on a device; "
        "converted is what the network computes for one face alone"
    )
