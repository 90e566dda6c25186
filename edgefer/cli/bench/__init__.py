"""`edgefer bench`: latency on devices."""

from edgefer.cli.group import LazyCommand, OrderedGroup
from edgefer.cli.text import examples

SHORT_HELPS = {
    "on-device": "Measure models' latency, memory and operators on devices.",
    "compare": "Say whether a second benchmark is slower than a first.",
    "devices": "List the devices that can be reached, and what they are.",
}

command = OrderedGroup(
    "bench",
    help="Measure latency on Raspberry Pi boards and Android devices.",
    epilog=examples(
        "edgefer bench on-device patt-lite-int8.tflite",
        "edgefer bench on-device *.tflite --device ssh://pi@raspberrypi.local --setup",
        "edgefer bench compare old.json new.json --max-slowdown 3%",
    ),
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)

for name, short_help in SHORT_HELPS.items():
    command.add_command(
        LazyCommand(name, module=f"{__name__}.{name.replace('-', '_')}", short_help=short_help)
    )
