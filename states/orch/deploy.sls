#!py
# salt-run state.orch orch.deploy: what one highstate of all hosts gives, in order and a few hosts at a time.
from saltern import verbs

FIRST = "controller: hosts are as planned"


def run():
    """Return the highstate of the controllers, and after it that of every host: then the controllers do nothing."""
    site, _ = verbs.Inputs.of(__opts__).load()
    controllers = [host.id for host in site.having("controller")]
    every = [{"tgt": "*"}, {"batch": "10%"}, {"highstate": True}, {"require": [{"salt": FIRST}]}]
    return {
        FIRST: {"salt.state": [{"tgt": controllers}, {"tgt_type": "list"}, {"highstate": True}]},
        "every host is as planned": {"salt.state": every},
    }
