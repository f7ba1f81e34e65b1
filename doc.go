// Package parley is the root of the module Parley, a server for talking with visitors that protects what it knows of them.
// It holds no code: the tests in this directory check the architecture, and arch_test.go states it.
package parley
