"""`edgefer demo`: a model in the browser, on this machine."""

import os
import sys
import tempfile
import webbrowser
from pathlib import Path

import click

from edgefer.cli import console
from edgefer.cli.contract_options import contract_options
from edgefer.cli.options import ModelPath, debug_option, litert_js_option
from edgefer.cli.text import examples
from edgefer.models import bundled
from edgefer.models.contract import StatedContract
from edgefer.shipping.job import ShippingJob, ship
from edgefer.shipping.server import BundleServer, listen, pages_of
from edgefer.shipping.targets import WEB

PORT = 8765
HOST = "127.0.0.1"


@click.command(
    epilog=examples(
        "edgefer demo                              # the bundled PAtt-Lite",
        "edgefer demo my-model-int8.tflite",
        "edgefer demo --no-open --port 9000",
    )
)
@click.argument("model", required=False, type=ModelPath())
@click.option("--port", type=click.IntRange(0, 65535), default=PORT, help="0 is any free one.")
@click.option("--host", default=HOST, help="The address to listen on; 0.0.0.0 is all of them.")
@click.option("--open/--no-open", "opens", default=True, help="Open the page in the browser.")
@litert_js_option
@contract_options
@debug_option
def command(
    *,
    model: Path | None,
    port: int,
    host: str,
    opens: bool,
    litert_js: Path | None,
    stated: StatedContract,
) -> None:
    """Show MODEL, a .tflite, at work on photos and a camera in the browser.

    Without MODEL it is PAtt-Lite in int8, which edgefer brings. The page is the one that edgefer
    ship writes for the web, served by this machine until Ctrl-C. Pictures stay in the browser.
    """
    with listen(host=host, port=port) as server, tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "bundle"
        with console.progress_bar("Making the page") as progress:
            job = ShippingJob(
                model=model or bundled.INT8,
                target=WEB,
                folder=folder,
                stated=stated,
                litert_js=litert_js,
            )
            ship(job, progress=progress)
        server.pages = pages_of(folder)
        tell(server)
        if opens and can_open():
            webbrowser.open(server.address)
        server.serve_forever()


def tell(server: BundleServer) -> None:
    """Print where the page is, and who else can see it."""
    if not server.is_local:
        console.message_console().print(
            "warning: everyone in the network can open this page. Their browsers give it a camera "
            "only over https",
            style="yellow",
        )
    console.result_console().print(f"{server.address}   (Ctrl-C ends it)")


def can_open() -> bool:
    """Say whether there is a screen; without one, Python would start a browser in the terminal."""
    return sys.platform in ("darwin", "win32") or any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY")
    )
