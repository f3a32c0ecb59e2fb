"""What the benchmarks share: throw-away engines, child processes and their cost, figures."""
