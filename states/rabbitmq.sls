#!py
def run():
    """Return the states of rabbitmq alone, on a host that has it."""
    return __salt__["saltern_host.states"]("rabbitmq")
