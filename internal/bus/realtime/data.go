package realtime

import "parley/catalog"

// Data declares the keys that the hub's log records carry. It keeps nothing: presence in Redis is ids that expire by
// themselves.
var Data = catalog.Dataset{
	Domain: "realtime",
	LogKeys: []catalog.LogKey{
		{Name: "op", Doc: "The operation, a name in the code."},
		{Name: "cause_op", Doc: "The operation in which the cause arose, a name in the code."},
		{Name: "kind", Doc: "The kind of an error."},
		{Name: "code", Doc: "The stable code of an error."},
		{Name: "stack", Doc: "Where in the code a handler panicked: functions and lines, no texts."},
	},
}
