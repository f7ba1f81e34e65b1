package app_test

import (
	"context"
	"testing"

	"parley/app"
	"parley/internal/parleytest"
	"parley/internal/parleytest/testdb"
)

func TestPromise_H1_WhatIsPastItsTimeGoes(t *testing.T) {
	testdb.Each(t, func(t *testing.T, url string) {
		s := parleytest.Start(t, parleytest.Options{Config: func(c *app.Config) { c.Database = url }})
		tenant := s.Tenant(t, "acme")
		s.Visitor(t, tenant.Site, "one")
		s.Visitor(t, tenant.Site, "two")
		s.Stop(t)
		a, err := app.Open(context.Background(), app.Config{Data: s.Data, Database: url, LogLevel: "error"})
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		starts, tokens, err := a.SweepAged(context.Background())
		if err != nil || starts != 0 || tokens != 0 {
			t.Errorf("after the sweep %d beginnings and %d tokens are left: %v", starts, tokens, err)
		}
	})
}
