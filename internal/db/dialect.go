package db

import (
	"errors"
	"strings"
)

// dialect is the engine that a schema text is translated for.
type dialect uint8

const (
	dialectSQLite dialect = iota
	dialectPostgres
)

// token is a piece of SQL: a bare word, or anything else that must not be looked into (strings, quoted names, comments, signs).
type token struct {
	text  string
	word  bool
	blank bool // space or comment
}

var errDeferred = errors.New("deferred constraints are refused")

// translate splits a schema text into statements and gives each the engine's types.
func translate(text string, to dialect) ([]string, error) {
	var out []string
	var stmt []token
	flush := func() error {
		s, err := translateStatement(stmt, to)
		stmt = nil
		if s != "" {
			out = append(out, s)
		}
		return err
	}
	for len(text) > 0 {
		t := nextToken(text)
		text = text[len(t.text):]
		if t.text == ";" {
			if err := flush(); err != nil {
				return nil, err
			}
			continue
		}
		stmt = append(stmt, t)
	}
	if err := flush(); err != nil {
		return nil, err
	}
	return out, nil
}

// nextToken returns the token at the start of s, which is not empty.
func nextToken(s string) token {
	until := func(end string, from int) token {
		if i := strings.Index(s[from:], end); i >= 0 {
			return token{text: s[:from+i+len(end)]}
		}
		return token{text: s}
	}
	switch c := s[0]; {
	case strings.HasPrefix(s, "--"):
		t := until("\n", 2)
		t.blank = true
		return t
	case strings.HasPrefix(s, "/*"):
		t := until("*/", 2)
		t.blank = true
		return t
	case c == '\'' || c == '"': // a doubled quote reads as two strings, which is as good
		return until(s[:1], 1)
	case c == ' ' || c == '\n' || c == '\t' || c == '\r':
		return token{text: s[:1], blank: true}
	case wordByte(c):
		n := 1
		for n < len(s) && wordByte(s[n]) {
			n++
		}
		return token{text: s[:n], word: true}
	}
	return token{text: s[:1]}
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// translateStatement returns the statement in the engine's words; "" for one without content.
func translateStatement(stmt []token, to dialect) (string, error) {
	var words []string
	for _, t := range stmt {
		if !t.blank {
			words = append(words, t.text)
		}
	}
	if len(words) == 0 {
		return "", nil
	}
	create := len(words) > 1 && words[0] == "CREATE" && words[1] == "TABLE"
	alter := len(words) > 1 && words[0] == "ALTER" && words[1] == "TABLE"
	var b strings.Builder
	prev, strict := "", create && to == dialectSQLite
	for _, t := range stmt {
		text := t.text
		if t.word && (create || alter) {
			switch text {
			case "DEFERRABLE", "DEFERRED":
				return "", errDeferred
			case "WITHOUT", "ROWID":
				if to == dialectPostgres {
					text = ""
				} else if text == "ROWID" && strict {
					text, strict = "ROWID, STRICT", false
				}
			default:
				text = typeName(text, prev, to)
			}
		}
		if !t.blank {
			prev = t.text
		}
		b.WriteString(text)
	}
	if strict {
		b.WriteString("\nSTRICT") // on a line of its own: the text may end in a comment
	}
	return strings.TrimSpace(b.String()), nil
}

// typeName returns the engine's name of a type, or the word itself.
func typeName(word, prev string, to dialect) string {
	cast := prev == "AS"
	switch {
	case to == dialectSQLite && (word == "BIGINT" || word == "BOOLEAN"):
		return "INTEGER"
	case to == dialectPostgres && word == "BLOB":
		return "BYTEA"
	case to == dialectPostgres && word == "REAL":
		return "DOUBLE PRECISION"
	case to == dialectPostgres && word == "TEXT" && !cast:
		return `TEXT COLLATE "C"`
	}
	return word
}
