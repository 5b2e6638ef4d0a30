"""Being built: keys of what is said of persons."""


class Vault: ...
