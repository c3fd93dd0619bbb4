"""Run one state run on all hosts at once and report it as JSON lines; runs on the deploy node with Salt's own Python.

Usage: drive.py '{"function": "state.highstate", "arguments": [], "keywords": {}, "hosts": ["ctl1"]}'
"""

import json
import sys
import time

import salt.client
import salt.config
import salt.utils.event

ASK_EVERY = 20
LOST_AFTER = 9
"""Seconds between two questions whether a host still works, and after how many unanswered ones it is given up."""


def report(event, **values):
    """Print one event as a line."""
    sys.stdout.write(json.dumps({"event": event, **values}, default=str) + "\n")
    sys.stdout.flush()


def brief(value):
    """Return a state's result without its changes, which may be long, in the order of the run."""
    return {
        "id": value.get("__id__", value.get("name", "")),
        "number": value.get("__run_num__", 0),
        "sls": value.get("__sls__", ""),
        "result": value.get("result"),
        "changed": bool(value.get("changes")),
        "comment": str(value.get("comment", "")),
        "duration": value.get("duration", 0),
    }


def returned(host, data):
    """Report the end of a host's run: its states, or the messages of a run that did not start."""
    value = data.get("return")
    if isinstance(value, dict) and all(isinstance(each, dict) for each in value.values()):
        states = sorted((brief(each) for each in value.values()), key=lambda each: each["number"])
        report("return", host=host, retcode=data.get("retcode", 0), states=states)
        return
    messages = value if isinstance(value, list) else [value]
    report("refused", host=host, retcode=data.get("retcode", 1), messages=[str(each) for each in messages])


class Watch:
    """The hosts whose run is under way, and how often each has not answered."""

    def __init__(self, client, jid, hosts):
        """Watch a job on hosts."""
        self.client = client
        self.jid = jid
        self.missed = dict.fromkeys(hosts, 0)
        self.asked = time.monotonic()

    def handle(self, event):
        """Report what an event of the job says."""
        parts = event["tag"].split("/")
        host = event["data"].get("id")
        if host not in self.missed or parts[:3] != ["salt", "job", self.jid]:
            return
        self.missed[host] = 0
        if parts[3] == "prog":
            body = event["data"]["data"]
            report("progress", host=host, of=body.get("len", 0), **brief(body["ret"]))
        elif parts[3] == "ret":
            del self.missed[host]
            returned(host, event["data"])

    def found(self, hosts, function, what):
        """Return what hosts answer that look for jobs."""
        return self.client.cmd(list(hosts), function, [what], tgt_type="list", timeout=10)

    def ask(self):
        """Ask the hosts whether they still work on it, now and then, and give up those that never answer."""
        if time.monotonic() - self.asked < ASK_EVERY:
            return
        working = self.found(self.missed, "saltutil.find_job", self.jid)
        # A run that waits for an earlier one has no process of its own yet.
        idle = [host for host in self.missed if not working.get(host)]
        working |= self.found(idle, "saltutil.is_running", "state.*") if idle else {}
        for host in list(self.missed):
            self.missed[host] = 0 if working.get(host) else self.missed[host] + 1
            if self.missed[host] >= LOST_AFTER:
                del self.missed[host]
                report("lost", host=host)
        self.asked = time.monotonic()


def main(order):
    """Run the order to its end; the exit code says nothing of the states, the lines do."""
    options = salt.config.master_config("/etc/salt/master")
    client = salt.client.LocalClient(mopts=options)
    with salt.utils.event.get_event("master", opts=options, listen=True) as bus:
        keywords = order.get("keywords") or {}
        arguments = order.get("arguments") or []
        job = client.run_job(order["hosts"], order["function"], arguments, tgt_type="list", kwarg=keywords, listen=True)
        if not job:
            report("error", message="no host took the job")
            return
        watch = Watch(client, job["jid"], order["hosts"])
        report("start", jid=job["jid"], hosts=order["hosts"])
        while watch.missed:
            event = bus.get_event(wait=1, full=True, tag=f"salt/job/{job['jid']}", auto_reconnect=True)
            if event:
                watch.handle(event)
            else:
                report("tick")
                watch.ask()
    report("end")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
