"""A virtual environment with a runtime and numpy, made in the home folder of a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress

from edgefer.benchmarks.foreign_text import last_line
from edgefer.benchmarks.installing.runtimes import Runtime
from edgefer.benchmarks.installing.wheels import Platform, WheelsError, fetched, pip_problem
from edgefer.benchmarks.targets.storage import storage_problem
from edgefer.benchmarks.targets.target import Answer, Target
from edgefer.errors import DeviceError

SHORT_TIMEOUT_S = 120.0
"""For what takes a moment: starting Python and importing numpy, on an emulated board too."""

INSTALL_TIMEOUT_S = 1800.0
"""For pip on a slow network, or on a slow card."""

Progress = Callable[[str], None]
"""Called with what is being done now, in a few words."""

_FOLDER = '"$HOME/.cache/edgefer"'

# An environment is made under another name and renamed when it works, which it bears: only the
# scripts in its bin folder, which nobody uses, would not find it any more. Before that, what does
# not work any more is removed, and what an earlier setup left: after a day it is not at work.
_MAKE_PLACE = f"""
mkdir -p {_FOLDER} && cd {_FOLDER} || exit
rm -rf "./$1"
find . -maxdepth 1 -name '*.part-*' -mmin +1440 -exec rm -rf {{}} +
mktemp -d "$PWD/$1.part-XXXXXX"
"""
_KEEP = f'cd {_FOLDER} && mv -T "$1" "./$2"'

# Not compiled, which takes longer than all the rest on a small board: the first import does it.
_PIP_INSTALL = (
    "install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-cache-dir",
    "--no-compile", "--no-deps", "--only-binary", ":all:",
)  # fmt: skip


class Installation:
    """A runtime's way to a device."""

    def __init__(
        self, target: Target, runtime: Runtime, platform: Platform, progress: Progress
    ) -> None:
        self._target, self._runtime, self._platform = target, runtime, platform
        self._progress = progress
        self._place = ""

    def run(self) -> str:
        """Make the environment, fill it, and give it its name; return its python."""
        self._place = self._make_place()
        try:
            self._make_environment()
            problem = self._install_from_network()
            if problem is not None:
                self._install_from_here(problem)
            self._require_that_it_works()
            return self._keep()
        finally:
            with suppress(DeviceError):  # a device that is gone by now is no second error
                self._run(["rm", "-rf", self._place])

    @property
    def _python(self) -> str:
        return f"{self._place}/bin/python"

    def _make_place(self) -> str:
        answer = self._run(["sh", "-c", _MAKE_PLACE, "sh", self._runtime.name])
        place = answer.stdout.decode(errors="replace").removesuffix("\n")
        if answer.returncode != 0 or not place.startswith("/"):
            raise self._failure("nothing can be installed in ~/.cache/edgefer", answer)
        return place

    def _make_environment(self) -> None:
        self._progress("making a virtual environment")
        system = ["--system-site-packages"] if self._runtime.system_numpy else []
        # Without pip: Debian has ensurepip only in a package of its own.
        answer = self._run(["python3", "-m", "venv", "--without-pip", *system, self._place])
        if answer.returncode != 0:
            raise self._failure(
                "no virtual environment can be made (sudo apt install python3-venv)", answer
            )

    def _install_from_network(self) -> str | None:
        """Let the device's own pip install; return why it could not."""
        self._progress(f"installing {self._runtime.requirement} from the device's network")
        answer = self._run(
            [
                *("python3", "-m", "pip", "--python", self._python, *_PIP_INSTALL),
                *("--timeout", "10", "--retries", "1"),
                *(self._runtime.numpy, self._runtime.requirement),
            ],
            timeout_s=INSTALL_TIMEOUT_S,
        )
        if answer.returncode == 0:
            return None
        if storage_problem(answer.stderr):
            raise self._failure(f"{self._runtime.requirement} cannot be installed", answer)
        return pip_problem(answer.stderr)

    def _install_from_here(self, problem: str) -> None:
        """Fetch wheels on this machine, send them, and install them without a network."""
        requirements = [self._runtime.requirement]
        if not self._has_numpy():
            requirements.append(self._runtime.numpy)
        self._progress(f"fetching wheels on this machine, because on the device {problem}")
        try:
            with fetched(["pip", *requirements], self._platform) as wheels:
                for wheel in wheels:
                    self._progress(f"sending {wheel.name}")
                    self._target.push(wheel, wheel.name)
        except WheelsError as exc:
            raise DeviceError(
                self._target.address,
                f"{self._runtime.requirement} cannot be installed: on the device, {problem}; "
                f"on this machine, {exc}; connect one of them to the internet, or tell its pip an "
                f"index{self._numpy_hint}",
            ) from exc
        self._install_wheels([wheel.name for wheel in wheels], requirements)

    def _install_wheels(self, wheels: Sequence[str], requirements: Sequence[str]) -> None:
        self._progress("installing what was sent")
        pip = next(wheel for wheel in wheels if wheel.startswith("pip-"))  # it runs from its wheel
        answer = self._run(
            [
                *(self._python, f"{pip}/pip", *_PIP_INSTALL),
                *("--no-index", "--find-links", ".", *requirements),
            ],
            timeout_s=INSTALL_TIMEOUT_S,
        )
        if answer.returncode != 0:
            raise self._failure(f"{self._runtime.requirement} cannot be installed", answer)
        self._run(["rm", *wheels])  # the working folder may be in memory that is to be measured

    def _has_numpy(self) -> bool:
        """Whether the environment sees a numpy of the right series among the system's packages."""
        answer = self._run([self._python, "-c", "import numpy; print(numpy.__version__)"])
        series = self._runtime.numpy.removeprefix("numpy==").removesuffix("*")
        return answer.stdout.startswith(series.encode())

    def _require_that_it_works(self) -> None:
        answer = self._run([self._python, "-c", _import(self._runtime)])
        if answer.returncode != 0:
            said = last_line(answer.stderr.decode(errors="replace"))
            raise DeviceError(
                self._target.address,
                f"{self._runtime.requirement} was installed but cannot be imported: "
                f"{said or f'exit code {answer.returncode}'}{self._numpy_hint}",
            )

    def _keep(self) -> str:
        """Give the environment its final name, unless another setup was faster."""
        answer = self._run(["sh", "-c", _KEEP, "sh", self._place, self._runtime.name])
        installed = installed_python(self._target, self._runtime)
        if installed is None:
            raise self._failure("nothing can be kept in ~/.cache/edgefer", answer)
        return installed

    @property
    def _numpy_hint(self) -> str:
        return "; on the device: sudo apt install python3-numpy" * self._runtime.system_numpy

    def _run(self, command: Sequence[str], *, timeout_s: float = SHORT_TIMEOUT_S) -> Answer:
        return self._target.run(command, timeout_s=timeout_s)

    def _failure(self, problem: str, answer: Answer) -> DeviceError:
        why = storage_problem(answer.stderr)
        advice = "; the home folder has to be writable, with 200 MB left" if why is not None else ""
        said = why or pip_problem(answer.stderr) or f"exit code {answer.returncode}"
        return DeviceError(self._target.address, f"{problem}: {said}{advice}")


def installed_python(target: Target, runtime: Runtime) -> str | None:
    """Return the python that an earlier setup left; None where there is none that works.

    A newer Python in the device's system, for one, makes it useless.
    """
    script = f'exec {_FOLDER}/"$1"/bin/python -c "$2"'
    check = f"{_import(runtime)}; import sys; print(sys.executable)"
    answer = target.run(["sh", "-c", script, "sh", runtime.name, check], timeout_s=SHORT_TIMEOUT_S)
    python = answer.stdout.decode(errors="replace").removesuffix("\n")
    return python if answer.returncode == 0 and python.startswith("/") else None


def _import(runtime: Runtime) -> str:
    return f"import numpy, {runtime.module}"
