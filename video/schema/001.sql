-- Calls and who took part in them. No name, no address, no content: those never come here.
CREATE TABLE video_session (
	org          TEXT NOT NULL,
	id           TEXT NOT NULL,
	conversation TEXT NOT NULL,
	person       TEXT NOT NULL,
	state        TEXT NOT NULL,
	media        TEXT NOT NULL,
	started_by   TEXT NOT NULL,
	starter      TEXT,
	answerer     TEXT,
	client_id    TEXT NOT NULL,
	created_at   BIGINT NOT NULL,
	ring_until   BIGINT NOT NULL,
	answered_at  BIGINT,
	ended_at     BIGINT,
	end_reason   TEXT,
	node         TEXT,
	alive_until  BIGINT NOT NULL,
	PRIMARY KEY (org, id),
	FOREIGN KEY (org, person) REFERENCES person (org, id)
);
-- A conversation has one call at a time, whoever calls first.
CREATE UNIQUE INDEX video_session_open ON video_session (org, conversation) WHERE state <> 'ended';
-- A call that a client asked for twice, because the answer got lost, is one call.
CREATE UNIQUE INDEX video_session_client ON video_session (org, conversation, client_id);
CREATE INDEX video_session_history ON video_session (org, conversation, created_at, id);
CREATE INDEX video_session_running ON video_session (org, created_at) WHERE state <> 'ended';
CREATE INDEX video_session_person ON video_session (org, person);
CREATE INDEX video_session_age ON video_session (created_at);

CREATE TABLE video_participant (
	org       TEXT NOT NULL,
	session   TEXT NOT NULL,
	identity  TEXT NOT NULL,
	person    TEXT NOT NULL,
	kind      TEXT NOT NULL,
	member    TEXT,
	role      TEXT NOT NULL,
	sign_in   TEXT,
	issued_at BIGINT NOT NULL,
	joined_at BIGINT,
	left_at   BIGINT,
	departure TEXT,
	PRIMARY KEY (org, session, identity),
	FOREIGN KEY (org, session) REFERENCES video_session (org, id) ON DELETE CASCADE,
	FOREIGN KEY (org, person) REFERENCES person (org, id)
);
-- Nobody is in a call twice: who comes again, after a reload or on another device, takes the place of who they were.
CREATE UNIQUE INDEX video_participant_here ON video_participant (org, session, kind, COALESCE(member, '')) WHERE left_at IS NULL;
CREATE INDEX video_participant_person ON video_participant (org, person);
CREATE INDEX video_participant_age ON video_participant (issued_at);
