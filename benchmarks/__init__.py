"""Latency, memory and per-operator profiles of models on devices.

    plan → targets → harness → (agent.py, profiler.py on the device) → result
                                                     statistics, warnings, compare, verify → report

`plan` says what to measure, a `Target` is a device's file transfer and shell, a `Harness` measures
there: `agent_harness` through Python and LiteRT's wheel, `native_harness` through LiteRT's own
benchmark_model. `runner` drives them and saves after each process.
"""
