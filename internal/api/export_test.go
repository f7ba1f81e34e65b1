package api

// ForwardedFor and ValidHost are the parsers of outside bytes, for fuzzing.
var (
	ForwardedFor = forwardedFor
	ValidHost    = validHost
)
