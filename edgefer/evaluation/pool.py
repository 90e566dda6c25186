"""Worker processes, one a core, that classify faces with a .tflite."""

import os
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from types import TracebackType
from typing import Self

from edgefer import child
from edgefer.data.preprocessing import Float32Array, UInt8Array
from edgefer.errors import ModelError
from edgefer.models.spec import ModelSpec

LARGEST_CHUNK = 32
CHUNKS_PER_WORKER = 16

Chunk = tuple[int, Sequence[UInt8Array]]
"""The position of its first face, and the faces."""


def usable_cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class WorkerPool:
    """A context in which `size` workers wait for faces; leaving it ends them at once.

    They are in a process group of their own, so that Ctrl-C reaches only the parent, and they
    end by themselves when the parent is gone.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._workers: dict[Connection, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        try:
            for _ in range(self._size):
                self._start()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()

    def chunk_size(self, faces: int) -> int:
        """Return how many faces to send at once, so that all workers end at about one time."""
        return min(max(1, faces // (self._size * CHUNKS_PER_WORKER)), LARGEST_CHUNK)

    def scores(
        self, path: Path, spec: ModelSpec, chunks: Iterable[Chunk]
    ) -> Iterator[tuple[int, Float32Array]]:
        """Yield each chunk's position and scores, in the order in which they are ready.

        A worker holds one chunk at a time, and the next chunk is read while all are busy.
        Raises ModelError where a worker fails or dies.
        """
        remaining = iter(chunks)
        idle = list(self._workers)
        busy: dict[Connection, int] = {}
        upcoming = next(remaining, None)
        while upcoming is not None or busy:
            while upcoming is not None and idle:
                position, images = upcoming
                connection = idle.pop()
                self._send(connection, (path, spec, images))
                busy[connection] = position
                upcoming = next(remaining, None)
            answered = wait(list(busy))
            for connection in [each for each in busy if each in answered]:
                scores = self._receive(connection, path)
                yield busy.pop(connection), scores
                idle.append(connection)

    def _start(self) -> None:
        ours, theirs = Pipe()
        with theirs:
            self._workers[ours] = subprocess.Popen(
                child.command("edgefer.evaluation.worker", str(theirs.fileno())),
                pass_fds=(theirs.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
                process_group=0,
            )

    def _send(self, connection: Connection, task: tuple[Path, ModelSpec, object]) -> None:
        try:
            connection.send(task)
        except OSError as exc:
            raise self._died(connection, task[0]) from exc

    def _receive(self, connection: Connection, path: Path) -> Float32Array:
        try:
            answer: Float32Array | str = connection.recv()
        except (EOFError, OSError) as exc:
            raise self._died(connection, path) from exc
        if isinstance(answer, str):
            raise ModelError(path, answer)
        return answer

    def _died(self, connection: Connection, path: Path) -> ModelError:
        how = child.death(self._workers[connection].wait())
        return ModelError(path, f"a process that ran it died ({how}); the file may be corrupt")

    def _end(self) -> None:
        for connection, process in self._workers.items():
            process.kill()
            process.wait()
            connection.close()
        self._workers.clear()
