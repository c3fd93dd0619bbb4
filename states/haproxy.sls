#!py
def run():
    """Return the states of haproxy alone, on a host that has it."""
    return __salt__["saltern_host.states"]("haproxy")
