-- Who was shown which notice, and said so. The text is found again by its version; its hash says that it is the same text.
CREATE TABLE privacy_acknowledgement (
	org       TEXT NOT NULL,
	id        TEXT NOT NULL,
	person    TEXT,
	member    TEXT REFERENCES account_member (id) ON DELETE CASCADE,
	notice    TEXT NOT NULL,
	version   TEXT NOT NULL,
	text_hash TEXT NOT NULL,
	lang      TEXT NOT NULL,
	surface   TEXT NOT NULL,
	at        BIGINT NOT NULL,
	PRIMARY KEY (org, id),
	FOREIGN KEY (org, person) REFERENCES person (org, id)
);
-- Saying it twice is saying it once: one row for each of whom, notice and version.
CREATE UNIQUE INDEX privacy_acknowledgement_person ON privacy_acknowledgement (org, person, notice, version);
CREATE UNIQUE INDEX privacy_acknowledgement_member ON privacy_acknowledgement (org, member, notice, version);
CREATE INDEX privacy_acknowledgement_age ON privacy_acknowledgement (at);
