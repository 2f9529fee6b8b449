"""
Measures throughput, latency, CPU and memory of the daemon on loopback, beside its ceilings.

``python -m benchmarks`` runs everything, ``python -m benchmarks inbound --quick`` one part for a
few seconds.  Every part is a module with ``DESCRIPTION`` and ``run(setup) -> list[Section]``:

- inbound, outbound, lines, http_send, backlog, history: the daemon in a process of its own;
- store, codec, ceilings: its parts alone.

`child` starts and measures processes, `rig` knows Prosody and the daemon, `phones`, `users` and
`http_load` are the cheap peers that make and count the load, `null_bridge` is the comparison.
"""
