"""The cloud on one machine: booted systemd containers as nodes, joined by bridges that lead nowhere else."""
