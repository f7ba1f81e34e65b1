package prove

// promise is a row of the list of promises that Parley keeps. The ids are stable; tests and documents refer to them.
type promise struct {
	id   string
	text string // what the system does, checkable
	part string // of the product that brings what is still missing; "": all of it is here, and must be shown
}

// promises returns all of them, in their order.
func promises() []promise {
	out := make([]promise, 0, 128)
	for _, chapter := range [][]promise{collecting, purpose, consent, cookies, addresses, rights, sharing, retention, security, changes, children, traps} {
		out = append(out, chapter...)
	}
	return out
}

// Collecting less.
var collecting = []promise{
	{"A1", "Optional fields are nullable; no endpoint refuses for want of one.", ""},
	{"A2", "Public pages need no registration and set no identifier.", ""},
	{"A3", "A field is collected only at its declared stage (sign-up, purchase, invitation…); writing it earlier is refused.", "privacy"},
	{"A4", "Each value records its source and context; guests of a visit give contact data only.", "visits"},
	{"A5", "No card number or CVV is ever stored: processor token, brand, last four.", "billing"},
	{"A6", "Data bought or imported must name its source; a notice goes out before or with the first contact.", "privacy"},
	{"A7", "Single sign-on asks minimal scopes; the person picks which claims to copy; the rest is discarded.", "accounts"},
	{"A8", "E-mail and phone are verified, with a verified-at time and a staleness prompt.", "accounts"},
	{"A9", "Identity evidence is a field of its own.", "privacy"},
	{"A10", "Content usage counters carry no viewer id.", "content"},
}

// Purpose and legal basis.
var purpose = []promise{
	{"B1", "Every read of a personal field names a declared purpose; an undeclared one is refused.", ""},
	{"B2", "A (field, purpose) matrix is enforced; a new pair needs notice or consent first.", "privacy"},
	{"B3", "Staff reads are bound to a purpose and a conversation, visit or case; break-glass needs a reason and alerts.", "accounts"},
	{"B4", "One legal basis per (field, purpose); legitimate interest needs a stored balancing test; consent is checked at use.", "privacy"},
	{"B5", "Security logs are unreadable for other purposes.", "accounts"},
	{"B6", "An organisation is controller, the server processor: its instructions are stored and enforced.", "privacy"},
	{"B7", "Models are trained only through a consent filter, with a manifest.", "content"},
	{"B8", "Demographic and traffic figures leave only as aggregates.", "insight"},
}

// Consent and messages.
var consent = []promise{
	{"C1", "The marketing choice at sign-up is unticked; text hash, version, time and surface are stored.", "notify"},
	{"C2", "No live opt-in, no newsletter; the address is confirmed.", "notify"},
	{"C3", "Withdrawing takes no more clicks than giving, and works before the next dequeue; history is kept.", "notify"},
	{"C4", "A marketing template without unsubscribe link, RFC 8058 headers and postal address cannot be sent.", "notify"},
	{"C5", "A keyed-hash suppression list survives erasure and re-import.", "notify"},
	{"C6", "Promotional and product mail have separate opt-outs; each template has a category.", "notify"},
	{"C7", "Opt-outs act at once; a deadline alarm stands behind them.", "notify"},
	{"C8", "Transactional messages are a closed list.", "notify"},
	{"C9", "A person's channel preference is binding.", "notify"},
	{"C10", "A closed account receives nothing automatic.", "notify"},
	{"C11", "Open and click tracking is off, and opt-in only.", "notify"},
	{"C12", "Testimonials need consent per publication; withdrawal unpublishes and purges.", "privacy"},
	{"C13", "A notice goes only to the role or participant it concerns.", "notify"},
	{"C14", "Survey and rating answers are declared fields.", "privacy"},
}

// Cookies, tracking, personalisation.
var cookies = []promise{
	{"D1", "A Set-Cookie that is not in the catalogue is dropped by the server.", ""},
	{"D2", "Session cookies have no Max-Age; the server enforces idle and absolute expiry.", ""},
	{"D3", "Cookie values are random, __Host-, per organisation.", ""},
	{"D4", "Public pages, the widget and joining as a guest work with cookies rejected.", "visits"},
	{"D5", "Local storage, session storage and IndexedDB are in the catalogue too.", ""},
	{"D6", "The answer to Do-Not-Track is disclosed.", "privacy"},
	{"D7", "Opted-out requests take a path that is given no identifiers; content still shows.", "content"},
	{"D8", "The opt-out status is visible and reversible, per device and account.", "privacy"},
	{"D9", "An objection stops profile building and deletes segments.", "content"},
	{"D10", "A reset advertising or device id is never linked to the old one.", "content"},
	{"D11", "The Content-Security-Policy is generated from the recipient register; third-party embeds are click-to-load.", ""},
	{"D12", "First-party counting with a rotating key; no raw IP.", "insight"},
	{"D13", "Audience regions are a gate that fails closed.", "content"},
}

// Logs and addresses.
var addresses = []promise{
	{"E1", "Access logs have their own store and key and carry no account id.", "privacy"},
	{"E2", "An IP is used in memory for a coarse region, then HMACed with a key that rotates; the raw value is never written.", ""},
	{"E3", "The log schema is an allow-list; unknown keys are dropped; query strings are stripped from referrers.", ""},
	{"E4", "Linking automatic data to a person is a declared, shown property.", "privacy"},
}

// Rights.
var rights = []promise{
	{"F1", "Every field that a person supplied is editable by that person.", "accounts"},
	{"F2", "Export: profile, preferences, media, derived data, consents, recipients, accesses.", "privacy"},
	{"F3", "One clock per request; the strictest regime wins; alarms before it runs out.", "privacy"},
	{"F4", "Rectify and complete; the change reaches recipients and derived data.", "privacy"},
	{"F5", "Kept old versions are declared, exported, swept and erased.", "privacy"},
	{"F6", "The export is JSON with a schema; other people's data is redacted.", "privacy"},
	{"F7", "Erasure walks the catalogue, destroys the person's keys and notifies recipients.", ""},
	{"F8", "Keys live outside data backups; a deletion ledger is replayed before a restored server serves.", ""},
	{"F9", "A legal hold names the law, the fields and an expiry; other purposes are refused meanwhile.", "privacy"},
	{"F10", "Restriction means storage only; a warning precedes lifting it.", "privacy"},
	{"F11", "Objection to marketing is absolute; other objections are decided with reasons.", "privacy"},
	{"F12", "A refusal needs reason, law and complaint route.", "privacy"},
	{"F13", "People without an account can claim by proving control of an address.", "privacy"},
	{"F14", "Public comments warn of visibility; author erasure covers posts, quotes and caches.", "content"},
	{"F15", "Tickets, chats, calls and letters are catalogued like any other data.", "support and phone"},
	{"F16", "Verification is proportionate; sensitive rights re-authenticate.", "privacy"},
	{"F17", "Web, e-mail and API routes feed one clock.", "privacy"},
	{"F18", "Complaints are acknowledged, clocked, and escalate to named addresses.", "privacy"},
	{"F19", "One privacy centre.", "privacy"},
}

// Sharing.
var sharing = []promise{
	{"G1", "No recipient may hold a sale purpose; everything leaves through one egress gateway.", ""},
	{"G2", "A field allow-list per recipient; typed payloads.", "privacy"},
	{"G3", "A contract record per recipient, with expiry; lapsed means disabled.", "privacy"},
	{"G4", "Affiliates are recipients like any other.", "privacy"},
	{"G5", "Consent is checked at egress, per recipient.", "privacy"},
	{"G6", "The subprocessor page (name, purpose, place) is generated from live configuration; an unlisted host is blocked.", "privacy"},
	{"G7", "A legal demand is a case: authority, scope, approver, two-person release, minimum fields, ledger.", "privacy"},
	{"G8", "A six-year disclosure ledger (45 CFR 164.528).", "privacy"},
	{"G9", "A report by calendar year of recipients for direct marketing (Cal. Civ. 1798.83).", "privacy"},
	{"G10", "Call data is tagged CPNI; approval precedes marketing use.", "phone"},
	{"G11", "Aggregates have a minimum group size; no row exports.", "insight"},
	{"G12", "Country and transfer mechanism per recipient and store, else blocked.", "privacy"},
	{"G13", "The ledger keeps onward recipients.", "privacy"},
	{"G14", "Referrer-Policy, noopener on outbound links.", ""},
	{"G15", "Requests of an organisation's end users go to that organisation and are tracked.", "privacy"},
	{"G16", "Each user and guest sees and acknowledges the notice version that covers them.", "visits"},
	{"G17", "Comments are inside the catalogue.", "content"},
}

// Retention.
var retention = []promise{
	{"H1", "Trigger and maximum per table; without a maximum the build fails.", ""},
	{"H2", "An inactivity limit: notice, archive, erase.", "accounts"},
	{"H3", "A closed account is archived under a key readable for legal purposes only; login and reset behave as for an unknown address.", "accounts"},
	{"H4", "A statutory clock on invoice fields only.", "billing"},
	{"H5", "Recordings are sealed under the participants' or visit's keys, disaster copies included.", "video"},
}

// Security.
var security = []promise{
	{"I1", "Passwords per NIST 800-63B-4 with a blocklist; argon2id.", "accounts"},
	{"I2", "A temporary credential forces a change before any data shows.", ""},
	{"I3", "Sign-out revokes on the server.", ""},
	{"I4", "Idle and absolute login limits.", ""},
	{"I5", "The 20th consecutive failure blocks the address (IPv6 by prefix); success resets.", ""},
	{"I6", "TLS ≥ 1.2, HSTS; also for SMTP, database and media.", "notify"},
	{"I7", "Field and blob encryption bound to person and field.", ""},
	{"I8", "Default-deny, field-level roles.", "accounts"},
	{"I9", "Scheduled vulnerability scans.", "privacy"},
	{"I10", "A machine-readable security baseline; a weaker release fails.", "privacy"},
	{"I11", "An incident computes people, fields, regimes, clocks and texts.", "privacy"},
}

// Changes and ownership.
var changes = []promise{
	{"J1", "A catalogue diff classifies materiality; a new use is inert until its date and its notices.", "privacy"},
	{"J2", "30 days between notice and effect; the choice is recorded.", "privacy"},
	{"J3", "The notice version is stored with what was collected.", "privacy"},
	{"J4", "An objection to a change opens an erasure.", "privacy"},
	{"J5", "Version, date and hash; an archive of all versions.", "privacy"},
	{"J6", "Bulk transfer of an organisation is locked until notices and a choice window.", "accounts"},
}

// Children.
var children = []promise{
	{"K1", "A neutral age question; block; no retry; the age is not stored.", "privacy"},
	{"K2", "Restrict at once; only the parent's contact; the decision is recorded.", "privacy"},
	{"K3", "Erasure on knowledge or on a parent's request.", "privacy"},
	{"K4", "Parental consent with a recorded method; separate consent for disclosure.", "privacy"},
}

// Traps: what a policy must not say. The policy linter will refuse them.
var traps = []promise{
	{"T1", "No consent by continuing to browse, by closing a banner, or deemed.", "privacy"},
	{"T2", "No 30 days to honour an opt-out.", "privacy"},
	{"T3", "No opt-in implied by a download.", "privacy"},
	{"T4", "No \"we disclose to no third party\" beside a list of third parties.", "privacy"},
	{"T5", "Pseudonymous data is not called anonymous.", "privacy"},
	{"T6", "Notice on change of control.", "privacy"},
	{"T7", "New terms are not applied to old data.", "privacy"},
	{"T8", "No CVV kept, no password mailed.", "privacy"},
	{"T9", "No \"we do not control these cookies\" of one's own embeds.", "privacy"},
	{"T10", "No expired transfer schemes.", "privacy"},
}
