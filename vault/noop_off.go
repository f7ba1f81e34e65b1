//go:build !parley_noop_vault

package vault

// NoOp reports whether this build seals nothing (build tag parley_noop_vault, for measuring). serve refuses such a build.
const NoOp = false
