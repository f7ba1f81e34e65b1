package chat

import "parley/catalog"

// The personal fields, by their stable ids.
const (
	FieldBody      catalog.FieldID = "chat.message.body"
	FieldPageURL   catalog.FieldID = "chat.conversation.page_url"
	FieldPageTitle catalog.FieldID = "chat.conversation.page_title"
)

// conversationKey is the kind of a conversation's key, which its visitor's key wraps: erasing the visitor ends the content.
const conversationKey = "conversation"

// Data declares what this domain keeps, in the database and in visitors' browsers.
var Data = catalog.Dataset{
	Domain:  "chat",
	Tables:  []catalog.Table{site, siteOrigin, visitorToken, conversationTable, start, messageTable},
	Browser: browser,
}

var site = catalog.Table{
	Name: "chat_site", Doc: "A website that the widget stands on.",
	NoPerson: "names a business's website", Erase: catalog.Retain, Keep: catalog.WithParent("lives as long as its project"),
	Columns: catalog.Columns{
		"org": catalog.Scope, "id": catalog.Plain, "project": catalog.LinkTo("account_project"),
		"name": catalog.Plain, "accent": catalog.Plain, "created_at": catalog.Plain,
	},
}

var siteOrigin = catalog.Table{
	Name: "chat_site_origin", Doc: "An origin whose pages may show a site's widget.",
	NoPerson: "names a business's website", Erase: catalog.Retain, Keep: catalog.WithParent("lives as long as its site"),
	Columns: catalog.Columns{"org": catalog.Scope, "site": catalog.LinkTo("chat_site"), "origin": catalog.Plain},
}

var visitorToken = catalog.Table{
	Name: "chat_visitor_token", Doc: "What lets one browser go on with its visitor's conversations. Only a hash of the token is kept.",
	Subjects: catalog.Subjects{"person": catalog.Owner},
	Purposes: catalog.For(catalog.Service, catalog.Security), Basis: catalog.Contract,
	Erase: catalog.Delete, Keep: catalog.AtMost("expires_at", catalog.Day),
	Columns: catalog.Columns{
		"org": catalog.Scope, "id": catalog.Plain, "token_hash": catalog.Hash, "person": catalog.LinkTo("person"),
		"site": catalog.LinkTo("chat_site"), "created_at": catalog.Plain, "seen_at": catalog.Plain, "expires_at": catalog.Plain,
	},
}

var conversationTable = catalog.Table{
	Name: "chat_conversation", Doc: "A talk between one visitor and the agents of an organisation.",
	Subjects: catalog.Subjects{"person": catalog.Owner, "assignee": catalog.Author},
	Purposes: catalog.For(catalog.Service, catalog.Support, catalog.Rights), Basis: catalog.Contract,
	Erase: catalog.Delete, Keep: catalog.AtMost("last_message_at", 3*catalog.Year),
	Key: catalog.KeyRule{Kind: conversationKey, Column: "id"},
	Columns: catalog.Columns{
		"org": catalog.Scope, "id": catalog.Plain, "site": catalog.LinkTo("chat_site"), "person": catalog.LinkTo("person"),
		"state": catalog.Plain, "assignee": catalog.LinkTo("account_member"), "last_seq": catalog.Plain, "last_message_at": catalog.Plain,
		"created_at": catalog.Plain, "closed_at": catalog.Plain, "visitor_read_seq": catalog.Plain, "agent_read_seq": catalog.Plain,
		"page_url":   catalog.Sealed(catalog.Usage, FieldPageURL).Maybe(),
		"page_title": catalog.Sealed(catalog.Usage, FieldPageTitle).Maybe(),
	},
}

var start = catalog.Table{
	Name: "chat_start", Doc: "Makes the first message of a conversation idempotent: the hash of its client id, for a day.",
	Subjects: catalog.Subjects{"person": catalog.Owner, "conversation": catalog.Owner},
	Purposes: catalog.For(catalog.Operations), Basis: catalog.Contract,
	Erase: catalog.Delete, Keep: catalog.AtMost("created_at", catalog.Day),
	Columns: catalog.Columns{
		"org": catalog.Scope, "site": catalog.LinkTo("chat_site"), "client_hash": catalog.Hash, "person": catalog.LinkTo("person"),
		"conversation": catalog.LinkTo("chat_conversation"), "created_at": catalog.Plain,
	},
}

// messageTable is what people write to each other. It is sealed under its conversation's key, the agent's words too: erasing
// the visitor ends the conversation's content, erasing an agent blanks authorship only.
var messageTable = catalog.Table{
	Name: "chat_message", Doc: "A message in a conversation.",
	Subjects: catalog.Subjects{"conversation": catalog.Owner, "author": catalog.Author},
	Purposes: catalog.For(catalog.Service, catalog.Support, catalog.Rights), Basis: catalog.Contract,
	Erase: catalog.Delete, Keep: catalog.AtMost("sent_at", 3*catalog.Year),
	Key: catalog.KeyRule{Kind: conversationKey, Column: "conversation"},
	Columns: catalog.Columns{
		"org": catalog.Scope, "conversation": catalog.LinkTo("chat_conversation"), "seq": catalog.Plain, "id": catalog.Plain,
		"client_id":   catalog.Plain.Because("a random id that the sender's program made up"),
		"sent_at":     catalog.Plain,
		"author_kind": catalog.Plain,
		"author":      catalog.LinkTo("account_member"),
		"body":        catalog.Sealed(catalog.Content, FieldBody),
	},
}

var browser = []catalog.Storage{{
	Name: "parley.visitor", Where: "localStorage", Who: "visitor",
	Doc:      "The token with which this browser goes on with its conversations, inside the widget's own frame.",
	Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, Life: TokenLife, When: "sends a first message",
}, {
	Name: "parley.open", Where: "sessionStorage", Who: "visitor",
	Doc:      "That the widget was open, so that it opens again on the site's next page.",
	Purposes: catalog.For(catalog.Service), Basis: catalog.Contract, When: "opens the widget",
}}
