// Package actor says who acts, for what purpose and in which organisation, and carries that in the
// context. The vault refuses to open a value without it. It authenticates nobody: account and chat do.
package actor

import (
	"context"

	"parley/catalog"
)

// Kind is the sort of actor.
type Kind string

// The kinds of actor.
const (
	Visitor Kind = "visitor" // a person on a site, known by a bearer token
	Member  Kind = "member"  // somebody who works in an organisation
	Project Kind = "project" // an API key
	System  Kind = "system"  // Parley itself: jobs, realtime rendering
)

// Role is what a member may do in an organisation.
type Role string

// The roles, from most to least.
const (
	Owner Role = "owner"
	Admin Role = "admin"
	Agent Role = "agent"
)

// Valid reports whether r is one of the roles.
func (r Role) Valid() bool { return r == Owner || r == Admin || r == Agent }

// Manages reports whether the role may change settings, add members and erase persons.
func (r Role) Manages() bool { return r == Owner || r == Admin }

// Actor is who acts. Org is the scope of every store call made on its behalf.
type Actor struct {
	Kind    Kind
	ID      string // person, member or project id; for System the name of the part that acts
	Org     string // empty only for System and for a member before an organisation is chosen
	Role    Role   // of members
	Session string // identifies the sign-in or token, never its secret
}

// Zero reports whether nobody acts.
func (a Actor) Zero() bool { return a.Kind == "" }

type ctxKey struct{}
type purposeKey struct{}

// With returns a context in which a acts.
func With(ctx context.Context, a Actor) context.Context { return context.WithValue(ctx, ctxKey{}, a) }

// From returns who acts, or the zero Actor.
func From(ctx context.Context) Actor {
	a, _ := ctx.Value(ctxKey{}).(Actor)
	return a
}

// For returns a context whose reads of personal data are for the purpose.
func For(ctx context.Context, p catalog.Purpose) context.Context {
	return context.WithValue(ctx, purposeKey{}, p)
}

// PurposeOf returns the purpose of the reads made under ctx, or "".
func PurposeOf(ctx context.Context) catalog.Purpose {
	p, _ := ctx.Value(purposeKey{}).(catalog.Purpose)
	return p
}

// AsSystem returns a context in which the named part of Parley acts in the organisation, for the purpose.
func AsSystem(ctx context.Context, part, org string, p catalog.Purpose) context.Context {
	return For(With(ctx, Actor{Kind: System, ID: part, Org: org}), p)
}
