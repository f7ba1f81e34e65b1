-- Names with one number or value each: the check of the master key, the last entry of the eviction log, the ledger's head as this store knows it.
CREATE TABLE vault_meta (
  name TEXT PRIMARY KEY,
  n BIGINT NOT NULL,
  value BLOB NOT NULL
);

-- The epochs whose key files exist. A key row names its epoch, so an epoch cannot go while a row needs it.
CREATE TABLE vault_epoch (
  n BIGINT PRIMARY KEY,
  created_at BIGINT NOT NULL
);

-- The keys, each wrapped by its parent and then by its epoch. parent is null for an organisation's key, which the master key wraps.
CREATE TABLE vault_key (
  id TEXT PRIMARY KEY,
  org TEXT NOT NULL,
  parent TEXT,
  kind TEXT NOT NULL,
  subject TEXT NOT NULL,
  class TEXT NOT NULL,
  version BIGINT NOT NULL,
  epoch BIGINT NOT NULL REFERENCES vault_epoch (n),
  wrapped BLOB NOT NULL,
  doom BLOB,
  UNIQUE (org, id),
  UNIQUE (org, kind, subject, class, version),
  FOREIGN KEY (org, parent) REFERENCES vault_key (org, id) ON DELETE CASCADE
);
CREATE INDEX vault_key_parent ON vault_key (org, parent);
CREATE INDEX vault_key_epoch ON vault_key (epoch, id);
CREATE INDEX vault_key_doom ON vault_key (doom);

-- What was destroyed, by keyed hash. root is the hash of the key that was asked for; a row of its own stands for each key below it.
-- ledger_seq is null from the decision until the key is gone.
CREATE TABLE vault_destroyed (
  hash BLOB PRIMARY KEY,
  root BLOB NOT NULL,
  at BIGINT NOT NULL,
  ledger_seq BIGINT,
  final_at BIGINT
);
CREATE INDEX vault_destroyed_pending ON vault_destroyed (ledger_seq);

-- Keys that every node must drop from memory, in order.
CREATE TABLE vault_evict (
  seq BIGINT PRIMARY KEY,
  target TEXT NOT NULL,
  at BIGINT NOT NULL
);

-- Running nodes: acked is the last entry of vault_evict that the node has carried out.
CREATE TABLE vault_node (
  id TEXT PRIMARY KEY,
  name TEXT NOT NULL,
  beat BIGINT NOT NULL,
  acked BIGINT NOT NULL,
  renewed_at BIGINT NOT NULL
);

-- Which version of a blind index is written.
CREATE TABLE vault_index (
  org TEXT NOT NULL,
  field TEXT NOT NULL,
  version BIGINT NOT NULL,
  PRIMARY KEY (org, field)
);
