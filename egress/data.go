package egress

import "parley/catalog"

// Data declares the recipients that belong to no domain, and what this package logs. A domain declares its own.
var Data = catalog.Dataset{
	Domain: "egress",
	Recipients: []catalog.Recipient{
		{
			ID: "postgres", Class: "store", Private: true, Purposes: catalog.For(catalog.Service, catalog.Operations),
			Doc: "The PostgreSQL server that the operator configured: rows, with personal values sealed.",
		},
		{
			ID: "redis", Class: "store", Private: true, Purposes: catalog.For(catalog.Service, catalog.Operations),
			Doc: "The Redis server that the operator configured: ids and sealed bytes on their way between nodes, never kept.",
		},
		{
			ID: "acme", Class: "authority", Purposes: catalog.For(catalog.Security, catalog.Operations),
			Doc: "Let's Encrypt, with --domain: the server's host names and, if the operator gave one, the operator's own e-mail address. It publishes the host names, as every public authority does.",
		},
		{
			ID: "acme-own", Class: "authority", Private: true, Purposes: catalog.For(catalog.Security, catalog.Operations),
			Doc: "The certificate authority that the operator named with --acme-ca, in place of Let's Encrypt: the same.",
		},
		{
			ID: "self", Class: "self", Private: true, Purposes: catalog.For(catalog.Operations),
			Doc: "A Parley server's own socket, spoken to by the commands on its machine: control, health check, load generator, proof.",
		},
	},
	LogKeys: []catalog.LogKey{
		{Name: "recipient", Doc: "id of the declared recipient of an outbound connection"},
		{Name: "reason", Doc: "why an outbound connection was refused, in fixed words"},
	},
}
