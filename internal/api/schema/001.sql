-- Answers to repeated creating requests: ids only.
CREATE TABLE api_idempotency (
	org        TEXT NOT NULL,
	actor      TEXT NOT NULL,
	key_hash   TEXT NOT NULL,
	route      TEXT NOT NULL,
	result_id  TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (org, actor, key_hash, route)
);

CREATE INDEX api_idempotency_age ON api_idempotency (created_at);
