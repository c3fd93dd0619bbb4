"""Waits for things on other hosts: bounded, and they say for what."""

from saltern import hostplan, outcome, probes, systemd, waiting


@outcome.reported
def ready(name, probe, timeout=600, unless_running=None):
    """Wait until a probe is content: what the following states of this host need from another one is there.

    A wait changes nothing. In a dry run it asks once; the result is None while the thing is not ready.

    name
        For what this waits, for people.

    probe
        The probe as data: ``{kind: amqp, host: ctl1, port: 5671, ca_file: ..., user: nova, secret: rabbitmq_nova}``.

    timeout
        Seconds after which the state fails.

    unless_running
        The unit whose start this is for: while it runs there is nothing to wait for, and nobody is asked.
    """
    if unless_running and systemd.Systemctl().runs(unless_running):
        return outcome.success(name, f"{unless_running} runs: nothing to wait for")
    spec, secrets = dict(probe), hostplan.secrets(__pillar__)
    what = probes.describe(spec)
    waited = waiting.wait_until_ready(spec, secrets, 0 if __opts__["test"] else float(timeout))
    if waited.reason is None:
        return outcome.success(name, f"{what} is ready (waited {waited.seconds:.0f} s)")
    if __opts__["test"]:
        return outcome.planned(name, f"would wait for {what}: {waited.reason}")
    return outcome.failure(name, f"{what} is not ready after {waited.seconds:.0f} s: {waited.reason}")
