base:
  '*':
    - saltern
