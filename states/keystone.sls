#!py
def run():
    """Return the states of keystone alone, on a host that has it."""
    return __salt__["saltern_host.states"]("keystone")
