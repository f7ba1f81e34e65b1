-- Organisations and those who work in them. Members are installation-wide; everything else belongs to one organisation.
CREATE TABLE account_org (
	id         TEXT PRIMARY KEY,
	name       TEXT NOT NULL,
	created_at BIGINT NOT NULL
);

CREATE TABLE account_member (
	id            TEXT PRIMARY KEY,
	email         BLOB NOT NULL,
	email_index   BLOB NOT NULL UNIQUE,
	name          BLOB,
	password_hash TEXT,
	locale        TEXT,
	created_at    BIGINT NOT NULL
);

CREATE TABLE account_membership (
	org        TEXT NOT NULL REFERENCES account_org (id) ON DELETE CASCADE,
	member     TEXT NOT NULL REFERENCES account_member (id) ON DELETE CASCADE,
	role       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (org, member)
);

CREATE INDEX account_membership_member ON account_membership (member);

CREATE TABLE account_project (
	org        TEXT NOT NULL REFERENCES account_org (id) ON DELETE CASCADE,
	id         TEXT NOT NULL,
	api_key    BIGINT NOT NULL UNIQUE,
	secret     BLOB NOT NULL,
	name       TEXT NOT NULL,
	created_by TEXT,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (org, id)
);

CREATE TABLE account_session (
	id         TEXT PRIMARY KEY,
	token_hash TEXT NOT NULL UNIQUE,
	member     TEXT NOT NULL REFERENCES account_member (id) ON DELETE CASCADE,
	org        TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	seen_at    BIGINT NOT NULL,
	expires_at BIGINT NOT NULL
);

CREATE INDEX account_session_member ON account_session (member, created_at);

CREATE INDEX account_session_expiry ON account_session (expires_at);

-- One-time tokens: invitations of a member, and (without a member) the codes of the first run.
CREATE TABLE account_setup (
	token_hash TEXT PRIMARY KEY,
	member     TEXT REFERENCES account_member (id) ON DELETE CASCADE,
	org        TEXT,
	expires_at BIGINT NOT NULL
);

-- Says that the first run is over; its one row decides between two that set up at the same time.
CREATE TABLE account_install (
	id      BIGINT PRIMARY KEY,
	done_at BIGINT NOT NULL
);

-- Sign-in attempts since the last success, by a hash of the blind index of the address that was typed.
CREATE TABLE account_attempt (
	subject  TEXT PRIMARY KEY,
	attempts BIGINT NOT NULL,
	since    BIGINT NOT NULL
);

CREATE INDEX account_attempt_age ON account_attempt (since);

CREATE TABLE account_audit (
	org        TEXT NOT NULL,
	id         TEXT NOT NULL,
	at         BIGINT NOT NULL,
	actor_kind TEXT NOT NULL,
	actor      TEXT NOT NULL,
	action     TEXT NOT NULL,
	object     TEXT NOT NULL,
	purpose    TEXT NOT NULL,
	PRIMARY KEY (org, id)
);

CREATE INDEX account_audit_age ON account_audit (at);
