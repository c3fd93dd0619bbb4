# salt-run state.orch orch.deploy: what one highstate of all hosts gives, in order and a few hosts at a time.
"controller: hosts are as planned":
  salt.state:
    - tgt: "saltern:roles:controller"
    - tgt_type: pillar
    - highstate: true

# The controller too: it has nothing to do any more.
"every host is as planned":
  salt.state:
    - tgt: "*"
    - batch: 10%
    - highstate: true
    - require:
        - salt: "controller: hosts are as planned"
