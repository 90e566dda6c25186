"""Latency, memory and per-operator profiles of models on devices.

    plan → targets → harness → (agent.py, profiler.py on the device) → result
                                     statistics, warnings, comparison, verification → report

`plan` says what to measure. A target (`targets`) is a device's files and shell, and `probing` asks
it what it is. A harness measures there: `agent_harness` through Python and LiteRT's wheel, which
`installing` brings, and `native` through LiteRT's own benchmark_model. `runner` drives them and
saves after each process; `devices` is the one place that knows all kinds.
"""
