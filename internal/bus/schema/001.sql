-- Work that must happen though the process dies. args holds ids only.
CREATE TABLE bus_job (
	id TEXT PRIMARY KEY,
	kind TEXT NOT NULL,
	unique_key TEXT,                         -- at most one job of a kind per key; NULL: any number
	args TEXT NOT NULL,                      -- JSON
	every_us BIGINT NOT NULL DEFAULT 0,      -- a periodic job's interval; 0: runs once
	run_at BIGINT NOT NULL,                  -- not before
	lease_until BIGINT NOT NULL DEFAULT 0,   -- until then it is in somebody's hands
	lease_by TEXT,                           -- the claim that holds the lease
	attempt BIGINT NOT NULL DEFAULT 0,       -- claims since it last succeeded
	again BOOLEAN NOT NULL DEFAULT FALSE,    -- asked for once more while it ran
	last_error TEXT,                         -- stable code of the last failure
	created_at BIGINT NOT NULL,
	UNIQUE (kind, unique_key)
);
CREATE INDEX bus_job_due ON bus_job (run_at);
