package app

import (
	"context"

	"parley/catalog"
	"parley/internal/db"
)

// SchemaDrift compares what the databases hold with what the catalogue declares, both ways. No line: they agree.
func (a *App) SchemaDrift(ctx context.Context) ([]string, error) {
	data, err := drift(ctx, a.data, DataDatasets())
	if err != nil {
		return nil, err
	}
	keys, err := drift(ctx, a.keys, append(KeyDatasets(), db.Data)) // both stores record their migrations
	return append(data, keys...), err
}

type schemaReader interface {
	LiveSchema(ctx context.Context) (map[string][]string, error)
}

func drift(ctx context.Context, store schemaReader, sets []catalog.Dataset) ([]string, error) {
	declared, err := catalog.New(sets...)
	if err != nil {
		return nil, err
	}
	live, err := store.LiveSchema(ctx)
	if err != nil {
		return nil, err
	}
	return declared.CompareSchema(live), nil
}
