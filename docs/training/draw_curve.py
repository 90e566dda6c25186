"""Draw a training log as a chart beside it.

python docs/training/draw_curve.py docs/training/patt-lite-112.csv
"""

import csv
import sys
from pathlib import Path

from edgefer.report.charts import training_curve
from edgefer.training.records import EpochRecord

log = Path(sys.argv[1])
with log.open(newline="", encoding="utf-8") as file:
    records = [
        EpochRecord(
            stage=row["stage"],
            epoch=int(row["epoch"]),
            **{key: float(value) for key, value in row.items() if key not in ("stage", "epoch")},
        )
        for row in csv.DictReader(file)
    ]
log.with_suffix(".svg").write_text(training_curve(records), encoding="utf-8")
