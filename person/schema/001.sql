-- The people an organisation talks with. Whoever they say they are is optional and sealed.
CREATE TABLE person (
	org         TEXT NOT NULL,
	id          TEXT NOT NULL,
	created_at  BIGINT NOT NULL,
	source      TEXT NOT NULL,
	locale      TEXT NOT NULL,
	name        BLOB,
	email       BLOB,
	email_index BLOB,
	PRIMARY KEY (org, id),
	FOREIGN KEY (org) REFERENCES account_org (id)
);
CREATE INDEX person_email ON person (org, email_index);
