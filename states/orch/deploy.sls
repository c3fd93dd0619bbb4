# salt-run state.orch orch.deploy: what one highstate of all hosts gives, in order and a few hosts at a time.
"deploy: hosts are as planned":
  salt.state:
    - tgt: "saltern:roles:deploy"
    - tgt_type: pillar
    - highstate: true

"controller: hosts are as planned":
  salt.state:
    - tgt: "saltern:roles:controller"
    - tgt_type: pillar
    - batch: 1
    - highstate: true
    - require:
        - salt: "deploy: hosts are as planned"

"compute: hosts are as planned":
  salt.state:
    - tgt: "saltern:roles:compute"
    - tgt_type: pillar
    - batch: 10%
    - highstate: true
    - require:
        - salt: "controller: hosts are as planned"
