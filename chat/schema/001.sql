-- Sites, visitors' tokens, conversations and their messages.
CREATE TABLE chat_site (
	org        TEXT NOT NULL,
	id         TEXT NOT NULL,
	project    TEXT NOT NULL,
	name       TEXT NOT NULL,
	accent     TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	PRIMARY KEY (org, id),
	FOREIGN KEY (org, project) REFERENCES account_project (org, id)
);
-- The widget knows a site by its id alone.
CREATE UNIQUE INDEX chat_site_public ON chat_site (id);

CREATE TABLE chat_site_origin (
	org    TEXT NOT NULL,
	site   TEXT NOT NULL,
	origin TEXT NOT NULL,
	PRIMARY KEY (org, site, origin),
	FOREIGN KEY (org, site) REFERENCES chat_site (org, id)
);

CREATE TABLE chat_visitor_token (
	org        TEXT NOT NULL,
	id         TEXT NOT NULL,
	token_hash BLOB NOT NULL,
	person     TEXT NOT NULL,
	site       TEXT NOT NULL,
	created_at BIGINT NOT NULL,
	seen_at    BIGINT NOT NULL,
	expires_at BIGINT NOT NULL,
	PRIMARY KEY (org, id),
	FOREIGN KEY (org, person) REFERENCES person (org, id)
);
CREATE UNIQUE INDEX chat_visitor_token_hash ON chat_visitor_token (token_hash);
CREATE INDEX chat_visitor_token_person ON chat_visitor_token (org, person);

CREATE TABLE chat_conversation (
	org              TEXT NOT NULL,
	id               TEXT NOT NULL,
	site             TEXT NOT NULL,
	person           TEXT NOT NULL,
	state            TEXT NOT NULL,
	assignee         TEXT,
	last_seq         BIGINT NOT NULL,
	last_message_at  BIGINT NOT NULL,
	created_at       BIGINT NOT NULL,
	closed_at        BIGINT,
	visitor_read_seq BIGINT NOT NULL,
	agent_read_seq   BIGINT NOT NULL,
	page_url         BLOB,
	page_title       BLOB,
	PRIMARY KEY (org, id),
	FOREIGN KEY (org, site) REFERENCES chat_site (org, id),
	FOREIGN KEY (org, person) REFERENCES person (org, id)
);
CREATE INDEX chat_conversation_inbox ON chat_conversation (org, state, last_message_at, id);
CREATE INDEX chat_conversation_person ON chat_conversation (org, person, created_at);
CREATE INDEX chat_conversation_assignee ON chat_conversation (org, assignee, state, last_message_at, id);

-- A first message that was sent twice because its answer got lost starts one conversation.
CREATE TABLE chat_start (
	org          TEXT NOT NULL,
	site         TEXT NOT NULL,
	client_hash  BLOB NOT NULL,
	person       TEXT NOT NULL,
	conversation TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	PRIMARY KEY (org, site, client_hash),
	FOREIGN KEY (org, conversation) REFERENCES chat_conversation (org, id)
);
CREATE INDEX chat_start_conversation ON chat_start (org, conversation);

CREATE TABLE chat_message (
	org          TEXT NOT NULL,
	conversation TEXT NOT NULL,
	seq          BIGINT NOT NULL,
	id           TEXT NOT NULL,
	client_id    TEXT NOT NULL,
	sent_at      BIGINT NOT NULL,
	author_kind  TEXT NOT NULL,
	author       TEXT,
	body         BLOB NOT NULL,
	PRIMARY KEY (org, conversation, seq),
	FOREIGN KEY (org, conversation) REFERENCES chat_conversation (org, id)
) WITHOUT ROWID;
CREATE UNIQUE INDEX chat_message_client ON chat_message (org, conversation, client_id);
