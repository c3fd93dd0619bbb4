#!py
def run():
    """Return the states of chrony alone, on a host that has it."""
    return __salt__["saltern_host.states"]("chrony")
