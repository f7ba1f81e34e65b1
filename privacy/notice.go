package privacy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"golang.org/x/text/language"

	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
)

// Notice is a text that somebody has to see before something is done with their data.
type Notice struct {
	ID         string
	Version    string // a date and a number: "2026-11-22-1"
	Lang       string
	Title      string
	Paragraphs []string
}

// Hash is the SHA-256, in hex, of what is shown: language, title and paragraphs, each ended by a line feed.
func (n Notice) Hash() string {
	sum := sha256.Sum256([]byte(strings.Join(append([]string{n.Lang, n.Title}, n.Paragraphs...), "\n") + "\n"))
	return hex.EncodeToString(sum[:])
}

// edition is one version of a notice in all its languages. A version that was released never changes: what people acknowledged
// must be readable later. A new text is a new edition.
type edition struct {
	version string
	texts   map[string]wording // by language; English is always there
}

type wording struct {
	title      string
	paragraphs []string
}

// editionsOf returns the versions of a notice, the oldest first; nil for a notice that there is none of.
func editionsOf(id string) []edition {
	if id == NoticeMedia {
		return mediaEditions()
	}
	return nil
}

// Surfaces are where a notice can be shown.
var surfaces = []string{"widget", "console", "preflight"}

// current returns the version of a notice that holds now, in the language that is nearest to the one asked for.
func current(op, id, lang string) (Notice, error) {
	all := editionsOf(id)
	if len(all) == 0 {
		return Notice{}, fault.New(fault.NotFound, op, "notice_unknown", "There is no such notice.")
	}
	e := all[len(all)-1]
	lang = baseOf(lang)
	if _, ok := e.texts[lang]; !ok {
		lang = "en"
	}
	w := e.texts[lang]
	return Notice{ID: id, Version: e.version, Lang: lang, Title: w.title, Paragraphs: w.paragraphs}, nil
}

// baseOf returns the language of a BCP 47 tag without region and script; "" for what is none.
func baseOf(lang string) string {
	tag, err := language.Parse(lang)
	if err != nil {
		return ""
	}
	base, _ := tag.Base()
	return base.String()
}

// addressee is whom a notice is for: a visitor, or a member in one of their organisations.
type addressee struct{ org, person, member string }

func addresseeOf(ctx context.Context, op string) (addressee, error) {
	a := actor.From(ctx)
	switch {
	case a.Org == "" || a.ID == "":
	case a.Kind == actor.Visitor:
		return addressee{org: a.Org, person: a.ID}, nil
	case a.Kind == actor.Member:
		return addressee{org: a.Org, member: a.ID}, nil
	}
	return addressee{}, fault.New(fault.Unauthenticated, op, "signed_out", "Sign in first.")
}

// Notice returns the version of a notice that holds now, and whether the actor in ctx has acknowledged it.
func (s *Service) Notice(ctx context.Context, id, lang string) (Notice, bool, error) {
	n, err := current("privacy.Notice", id, lang)
	if err != nil {
		return Notice{}, false, err
	}
	done, err := s.Acknowledged(ctx, id)
	return n, done, err
}

// Acknowledged reports whether the actor in ctx has acknowledged the version of a notice that holds now (promise G16).
func (s *Service) Acknowledged(ctx context.Context, id string) (done bool, err error) {
	const op = "privacy.Acknowledged"
	n, err := current(op, id, "en")
	if err != nil {
		return false, err
	}
	who, err := addresseeOf(ctx, op)
	if err != nil {
		return false, err
	}
	err = s.opt.DB.Read(ctx, op, func(tx *db.Tx) error {
		done, err = acknowledged(tx, who, id, n.Version)
		return err
	})
	return done, err
}

// Acknowledge stores that the actor in ctx was shown a notice and said so: which version in which language, where, and when.
// Saying it again changes nothing. A version that no longer holds is refused: they have to see the one that does.
func (s *Service) Acknowledge(ctx context.Context, id, version, lang, surface string) error {
	const op = "privacy.Acknowledge"
	who, err := addresseeOf(ctx, op)
	if err != nil {
		return err
	}
	n, err := current(op, id, lang)
	if err != nil {
		return err
	}
	if !slices.Contains(surfaces, surface) {
		return fault.Bad(op, "surface", "surface_unknown", "The surface is one of widget, console and preflight.")
	}
	if version != n.Version {
		return &fault.Error{Kind: fault.Conflict, Op: op, Code: "notice_outdated", Field: "version", Text: "This notice has changed. Show the version that holds now."}
	}
	return s.opt.DB.Do(ctx, op, func(tx *db.Tx) error { return insertAcknowledgement(tx, db.NewID(), who, n, surface) })
}
