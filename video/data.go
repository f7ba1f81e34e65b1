package video

import "parley/catalog"

// Life is how long it is kept that a call took place.
const Life = catalog.Year

// Data declares what this domain keeps. What is said and shown in a call is kept nowhere.
var Data = catalog.Dataset{
	Domain: "video",
	Tables: []catalog.Table{sessionTable, participantTable},
}

var sessionTable = catalog.Table{
	Name: "video_session", Doc: "A call in a conversation: who started it, when it rang, began and ended, and how. Nothing of what was said or shown.",
	Subjects: catalog.Subjects{"person": catalog.Owner, "starter": catalog.Author, "answerer": catalog.Author},
	Purposes: catalog.For(catalog.Service, catalog.Support, catalog.Rights), Basis: catalog.Contract,
	Erase: catalog.Delete, Keep: catalog.AtMost("created_at", Life),
	Columns: catalog.Columns{
		"org": catalog.Scope, "id": catalog.Plain, "conversation": catalog.LinkTo("chat_conversation"), "person": catalog.LinkTo("person"),
		"state":       catalog.Plain,
		"media":       catalog.Plain.Because("video or audio"),
		"started_by":  catalog.Plain.Because("the side: visitor or agent"),
		"starter":     catalog.LinkTo("account_member"),
		"answerer":    catalog.LinkTo("account_member"),
		"client_id":   catalog.Plain.Because("a random id that the caller's program made up"),
		"created_at":  catalog.Plain,
		"ring_until":  catalog.Plain,
		"answered_at": catalog.Plain,
		"ended_at":    catalog.Plain,
		"end_reason":  catalog.Plain.Because("one word of a closed list"),
		"node":        catalog.Plain.Because("which process of the operator carries the call"),
		"alive_until": catalog.Plain.Because("until when that process is known to be running"),
	},
}

// participantTable names people by links alone; identity is what the media engine calls them.
var participantTable = catalog.Table{
	Name: "video_participant", Doc: "Who took part in a call, from when to when, under a random identity made for it. The visitor whose call it is owns the row.",
	Subjects: catalog.Subjects{"person": catalog.Owner, "member": catalog.Author},
	Purposes: catalog.For(catalog.Service, catalog.Support, catalog.Rights), Basis: catalog.Contract,
	Erase: catalog.Delete, Keep: catalog.AtMost("issued_at", Life), RowID: "identity",
	Columns: catalog.Columns{
		"org": catalog.Scope, "session": catalog.LinkTo("video_session"),
		"identity":  catalog.Plain.Because("random, made for one entry into one call"),
		"person":    catalog.LinkTo("person"),
		"kind":      catalog.Plain.Because("the side: visitor or agent"),
		"member":    catalog.LinkTo("account_member"),
		"role":      catalog.Plain.Because("what the engine lets them do, one word"),
		"sign_in":   catalog.Link,
		"issued_at": catalog.Plain, "joined_at": catalog.Plain, "left_at": catalog.Plain,
		"departure": catalog.Plain.Because("how they left, one word of a closed list"),
	},
}
