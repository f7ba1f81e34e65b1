package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"parley/internal/fault"
)

// engineError is a driver's error without the values that drivers like to quote: its text is a code and the names of
// schema objects. The driver's own error stays reachable with errors.As.
type engineError struct {
	text  string
	cause error
}

func (e *engineError) Error() string { return e.text }
func (e *engineError) Unwrap() error { return e.cause }

// IsUnique reports whether err is a violation of a unique or primary key, on either engine.
func IsUnique(err error) bool {
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		return se.Code() == sqlite3.SQLITE_CONSTRAINT_UNIQUE || se.Code() == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
	}
	var pe *pgconn.PgError
	return errors.As(err, &pe) && pe.Code == "23505"
}

// classify turns a driver's error into one that may be shown to operators: Full and Unavailable where
// that is what happened, an engineError otherwise.
func classify(err error) error {
	if err == nil {
		return nil
	}
	var have *fault.Error
	var known *engineError
	if errors.As(err, &have) || errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return ended("db", err)
	}
	if se, ok := errors.AsType[*sqlite.Error](err); ok {
		return classifySQLite(se)
	}
	if pe, ok := errors.AsType[*pgconn.PgError](err); ok {
		return classifyPostgres(pe)
	}
	if lostConnection(err) {
		return unavailable("database_away", "the database does not answer", &engineError{"connection lost", err})
	}
	return &engineError{fmt.Sprintf("the driver refused the statement (%T)", err), err}
}

func classifySQLite(e *sqlite.Error) error {
	named := &engineError{e.Error(), e} // SQLite's messages name tables and columns, never values
	switch code := e.Code(); {
	case code&0xff == sqlite3.SQLITE_FULL, code == sqlite3.SQLITE_IOERR_SHMSIZE:
		return full(named)
	case code&0xff == sqlite3.SQLITE_BUSY, code&0xff == sqlite3.SQLITE_LOCKED:
		return unavailable("busy", "the database is busy", named)
	case code&0xff == sqlite3.SQLITE_IOERR, code&0xff == sqlite3.SQLITE_CANTOPEN:
		return unavailable("database_io", "the database file cannot be read or written", named)
	}
	return named
}

func classifyPostgres(e *pgconn.PgError) error {
	text := "postgres: SQLSTATE " + e.Code
	switch {
	case e.Code[:min(2, len(e.Code))] == "22": // data exceptions quote the value
	case e.ConstraintName != "":
		text += ": constraint " + e.ConstraintName
	default:
		text += ": " + e.Message
	}
	named := &engineError{text, e}
	switch {
	case e.Code == "53100":
		return full(named)
	case e.Code == "22021", e.Code == "22P05": // NUL, which SQLite stores: somebody's input, where no rule caught it
		return &fault.Error{Kind: fault.Malformed, Op: "db", Code: "malformed", Text: "text that cannot be stored", Cause: named}
	case e.Code == "40001", e.Code == "40P01":
		return unavailable("busy", "the database is busy", named)
	case len(e.Code) == 5 && (e.Code[:2] == "08" || e.Code[:2] == "53" || e.Code[:2] == "57" || e.Code[:2] == "58" || e.Code == "25006"):
		return unavailable("database_away", "the database does not answer", named)
	}
	return named
}

// lostConnection reports whether err is trouble with the connection rather than with a statement.
func lostConnection(err error) bool {
	var ce *pgconn.ConnectError
	var ne net.Error
	return errors.As(err, &ce) || errors.As(err, &ne) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, sql.ErrConnDone) ||
		errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, net.ErrClosed) || pgconn.SafeToRetry(err)
}

func full(cause error) error {
	return &fault.Error{Kind: fault.Full, Op: "db", Code: "full", Text: "no disk space is left for writes", Cause: cause}
}

func unavailable(code, text string, cause error) error {
	return &fault.Error{Kind: fault.Unavailable, Op: "db", Code: code, Text: text, RetryAfter: time.Second, Cause: cause}
}

// ended is the error of a use case whose ctx ended.
func ended(op string, cause error) error {
	code := "cancelled"
	if errors.Is(cause, context.DeadlineExceeded) {
		code = "timeout"
	}
	return &fault.Error{Kind: fault.Unavailable, Op: op, Code: code, Text: "the request ended before the database's turn", Cause: cause}
}

// closedError is what a closed database answers.
func closedError(op string) error {
	return &fault.Error{Kind: fault.Unavailable, Op: op, Code: "database_closed", Text: "the database is closed"}
}

// scanError drops the value that database/sql quotes when a column does not fit its destination.
func scanError(err error) error {
	return &engineError{"a column does not fit its destination", errors.Unwrap(err)}
}

// result is what Do and Read return for a use case that ended with err.
func result(op string, err error) error {
	if err == nil {
		return nil
	}
	return fault.Wrap(fault.Internal, op, classifyKnown(err))
}

// classifyKnown classifies drivers' errors that reached fn past Tx (from sql.Rows) and leaves fn's own errors alone.
func classifyKnown(err error) error {
	var have *fault.Error
	var known *engineError
	var se *sqlite.Error
	var pe *pgconn.PgError
	if errors.As(err, &have) || errors.As(err, &known) {
		return err
	}
	if errors.As(err, &se) || errors.As(err, &pe) || lostConnection(err) {
		return classify(err)
	}
	return err
}
