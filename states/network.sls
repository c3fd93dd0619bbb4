#!py
def run():
    """Return the states of network alone, on a host that has it."""
    return __salt__["saltern_host.states"]("network")
