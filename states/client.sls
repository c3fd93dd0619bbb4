#!py
def run():
    """Return the states of client alone, on a host that has it."""
    return __salt__["saltern_host.states"]("client")
