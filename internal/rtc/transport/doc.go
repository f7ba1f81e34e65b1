// Package transport is the ground that calls stand on: the sockets, ICE, and the settings of every peer connection.
//
// One UDP port and one TCP port serve all connections; packets find theirs by the ICE user name. A TURN server is
// built in for people whose network lets neither through, and it relays to this server's own media address and to
// nothing else, so it is of no use to anybody who is not in a call here. The package announces its own addresses
// only. It asks no STUN server, resolves no name and dials nobody: the agent is ICE-lite, which answers checks and
// never starts one, so no client can make the server send packets to a third party.
//
// It knows neither rooms nor participants nor packets' meaning; package rtc does. It writes no address, no session
// description and no message of a library to the log: what libraries complain of is counted by scope.
package transport
