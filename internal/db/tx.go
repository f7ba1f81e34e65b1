package db

import (
	"context"
	"database/sql"
	"errors"
	"time"
)

// Tx is a use case's view of the database. It is valid inside the closure it was given to, on that goroutine only.
type Tx struct {
	ctx    context.Context
	now    time.Time
	run    runner
	after  []func()
	open   *sql.Rows // what the last query handed out
	failed error     // the first statement that failed
}

func newTx(ctx context.Context, now time.Time, run runner) *Tx {
	return &Tx{ctx: ctx, now: now.UTC().Truncate(time.Microsecond), run: run}
}

// runner executes statements on one engine's connection.
type runner interface {
	exec(ctx context.Context, query string, args []any) (int64, error)
	query(ctx context.Context, query string, args []any) (*sql.Rows, error)
}

var (
	errEarlier  = errors.New("db: an earlier statement of this use case failed")
	errOpenRows = errors.New("db: close the rows of the last query before the next statement")
)

// Now returns the use case's time: UTC, whole microseconds, the same on every call.
func (tx *Tx) Now() time.Time { return tx.now }

// Exec runs a statement and returns the number of rows that it changed.
func (tx *Tx) Exec(query string, args ...any) (int64, error) {
	if err := tx.ready(); err != nil {
		return 0, err
	}
	n, err := tx.run.exec(tx.ctx, query, args)
	return n, tx.fail(err)
}

// Query runs a statement that returns rows. They must be read to their end, or closed, before the next statement: a
// use case has one connection. Rows left open are closed when the use case ends.
func (tx *Tx) Query(query string, args ...any) (*sql.Rows, error) {
	if err := tx.ready(); err != nil {
		return nil, err
	}
	rows, err := tx.run.query(tx.ctx, query, args)
	if err != nil {
		return nil, tx.fail(err)
	}
	tx.open = rows
	return rows, nil
}

// QueryRow runs a statement of which the first row is wanted; errors come from Row.Scan.
func (tx *Tx) QueryRow(query string, args ...any) Row {
	if err := tx.ready(); err != nil {
		return Row{tx: tx, err: err}
	}
	rows, err := tx.run.query(tx.ctx, query, args)
	tx.open = rows
	return Row{tx: tx, rows: rows, err: tx.fail(err)}
}

// After sets f to run after the use case is durable: in the order of commits, and before Do returns. It must not block, nor
// call Do or Read. It does not run if the use case fails.
func (tx *Tx) After(f func()) { tx.after = append(tx.after, f) }

// Row is the result of QueryRow.
type Row struct {
	tx   *Tx
	rows *sql.Rows
	err  error
}

// Scan copies the row's columns to dest and ends the query. Without a row it returns sql.ErrNoRows, which does not fail
// the use case.
func (r Row) Scan(dest ...any) error {
	if r.err != nil {
		return r.err
	}
	if !r.rows.Next() {
		err := errors.Join(r.rows.Err(), r.rows.Close())
		if err != nil {
			return r.tx.fail(classify(err))
		}
		return sql.ErrNoRows
	}
	if err := r.rows.Scan(dest...); err != nil {
		r.rows.Close()
		return scanError(err)
	}
	// Closing ends the statement, and a constraint may speak up only then.
	if err := r.rows.Close(); err != nil {
		return r.tx.fail(classify(err))
	}
	return nil
}

func (tx *Tx) ready() error {
	if tx.failed != nil {
		return errEarlier
	}
	if err := tx.ctx.Err(); err != nil {
		return ended("db", err)
	}
	if tx.open != nil {
		if _, err := tx.open.Columns(); err == nil { // it errs once the rows are closed
			return tx.fail(errOpenRows)
		}
		tx.open = nil
	}
	return nil
}

func (tx *Tx) fail(err error) error {
	if err != nil && tx.failed == nil {
		tx.failed = err
	}
	return err
}

// finish ends fn's statements and returns what the use case failed with, if anything.
func (tx *Tx) finish(err error) error {
	if tx.open != nil {
		if cerr := errors.Join(tx.open.Err(), tx.open.Close()); cerr != nil {
			tx.fail(classify(cerr)) //nolint:errcheck // kept in tx.failed
		}
		tx.open = nil
	}
	if err == nil {
		return tx.failed // swallowed by fn; committing would differ between the engines
	}
	return err
}
