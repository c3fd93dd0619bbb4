#!py
def run():
    """Return the states of boot alone, on a host that has it."""
    return __salt__["saltern_host.states"]("boot")
