// Package person keeps the people that an organisation talks with: visitors now, callers and patients later.
// It knows who they say they are and seals it; it does not know what they said (chat) and signs nobody in (account).
package person

import (
	"context"
	"embed"
	"net/mail"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
	"parley/vault"
)

// KeyKind is the kind of a person's key in the vault.
const KeyKind = "person"

// Limits on what a person may tell about themselves, in characters.
const (
	MaxName  = 200
	MaxEmail = 254 // RFC 5321, section 4.5.3.1.3, less the angle brackets
)

//go:embed schema/*.sql
var schema embed.FS

// Migrations is this domain's schema.
var Migrations = db.Migrations{Domain: "person", FS: schema}

// Texts are this domain's error messages, by language.
//
//go:embed texts/*.json
var Texts embed.FS

// Person is somebody an organisation talks with. Name and Email are still sealed.
type Person struct {
	Org, ID   string
	CreatedAt time.Time
	Source    string
	Locale    string
	Name      vault.Sealed
	Email     vault.Sealed
}

// Profile is what a person tells about themselves, in the clear. Nil leaves a field as it is, "" empties it.
type Profile struct {
	Name  *string
	Email *string
}

// Draft is a person made ready to be inserted: the key exists and is durable, the fields are sealed.
type Draft struct {
	Person
	emailIndex []byte
}

// Auditor records what staff look at, before they see it.
type Auditor interface {
	Audit(ctx context.Context, action, object string) error
}

// Service is what other domains ask of this one.
type Service struct {
	db    *db.DB
	vault *vault.Vault
	audit Auditor
}

// New returns the service.
func New(d *db.DB, v *vault.Vault, a Auditor) *Service { return &Service{db: d, vault: v, audit: a} }

// Key returns the person's key in the class that content is sealed under.
func Key(org, id string) vault.Key {
	return vault.Key{Org: org, Kind: KeyKind, ID: id, Class: catalog.ClassService}
}

// CheckProfile normalises p in place and refuses what cannot be kept; field names are those of the JSON input.
func CheckProfile(p *Profile, prefix string) error {
	if p.Name != nil {
		*p.Name = strings.Join(strings.Fields(*p.Name), " ")
		if utf8.RuneCountInString(*p.Name) > MaxName {
			return fault.Bad("person.CheckProfile", prefix+"name", "name_too_long", "A name has at most 200 characters.")
		}
		if !printable(*p.Name) {
			return fault.Bad("person.CheckProfile", prefix+"name", "name_control_character", "A name has no control characters.")
		}
	}
	if p.Email != nil {
		*p.Email = strings.TrimSpace(*p.Email)
		if *p.Email == "" {
			return nil
		}
		a, err := mail.ParseAddress(*p.Email)
		if err != nil || a.Address != *p.Email || len(*p.Email) > MaxEmail {
			return fault.Bad("person.CheckProfile", prefix+"email", "email_invalid", "Give an e-mail address such as ada@example.org, or leave it empty.")
		}
	}
	return nil
}

func printable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}

// Prepare makes the key of a new person and seals the profile, so that Insert is pure SQL inside somebody else's transaction.
// The caller creates the key id with db.NewID and may create further keys below it afterwards.
func (s *Service) Prepare(ctx context.Context, org, id, source, locale string, p Profile) (Draft, error) {
	if err := s.vault.Create(ctx, Key(org, id), vault.Key{}); err != nil {
		return Draft{}, err
	}
	return s.Seal(ctx, org, id, source, locale, p)
}

// Seal seals the profile of a person whose key exists.
func (s *Service) Seal(ctx context.Context, org, id, source, locale string, p Profile) (Draft, error) {
	d := Draft{Person: Person{Org: org, ID: id, Source: source, Locale: locale}}
	var err error
	if p.Name != nil && *p.Name != "" {
		if d.Name, err = s.vault.Seal(ctx, Key(org, id), FieldName, id, *p.Name, given(source)); err != nil {
			return Draft{}, err
		}
	}
	if p.Email != nil && *p.Email != "" {
		if d.Email, err = s.vault.Seal(ctx, Key(org, id), FieldEmail, id, *p.Email, given(source)); err != nil {
			return Draft{}, err
		}
		if d.emailIndex, err = s.vault.Index(ctx, org, FieldEmail, normalEmail(*p.Email)); err != nil {
			return Draft{}, err
		}
	}
	return d, nil
}

// normalEmail is what an address is indexed by. Changing it means indexing every stored address again.
func normalEmail(email string) string { return strings.ToLower(norm.NFC.String(email)) }

func given(source string) vault.Provenance {
	return vault.Provenance{Source: "person", Stage: source}
}

// Insert stores the draft inside the caller's transaction.
func (s *Service) Insert(tx *db.Tx, d Draft) error {
	_, err := tx.Exec(`INSERT INTO person (org, id, created_at, source, locale, name, email, email_index) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		d.Org, d.ID, db.Micros(tx.Now()), d.Source, d.Locale, d.Name, d.Email, d.emailIndex)
	return err
}

// Get returns a person of the organisation, or NotFound.
func (s *Service) Get(ctx context.Context, org, id string) (Person, error) {
	found, err := s.Many(ctx, org, []string{id})
	if err != nil {
		return Person{}, err
	}
	p, ok := found[id]
	if !ok {
		return Person{}, fault.New(fault.NotFound, "person.Get", "person_unknown", "There is no such person.")
	}
	return p, nil
}

// Many returns those of the persons that exist, by id.
func (s *Service) Many(ctx context.Context, org string, ids []string) (map[string]Person, error) {
	out := make(map[string]Person, len(ids))
	err := s.db.Read(ctx, "person.Many", func(tx *db.Tx) error {
		for _, id := range ids {
			if _, done := out[id]; done {
				continue
			}
			p, ok, err := get(tx, org, id)
			if err != nil {
				return err
			}
			if ok {
				out[id] = p
			}
		}
		return nil
	})
	return out, err
}

// Each calls yield for every person of every organisation until it returns false: for the ledger's replay.
func (s *Service) Each(ctx context.Context, yield func(vault.Key) bool) error {
	org, id := "", ""
	for {
		page, err := s.page(ctx, org, id)
		if err != nil || len(page) == 0 {
			return err
		}
		for _, k := range page {
			if !yield(k) {
				return nil
			}
		}
		org, id = page[len(page)-1].Org, page[len(page)-1].ID
	}
}

func (s *Service) page(ctx context.Context, org, id string) (page []vault.Key, err error) {
	err = s.db.Read(ctx, "person.Each", func(tx *db.Tx) error {
		page, err = after(tx, org, id, 1000)
		return err
	})
	return page, err
}

// Shown is a person as shown to whoever may see them.
type Shown struct {
	ID    string
	Name  vault.Text
	Email vault.Text
}

// Open opens the profile for the purpose in ctx. A person whose keys are gone is shown by id alone.
func (s *Service) Open(ctx context.Context, p Person) (Shown, error) {
	out := Shown{ID: p.ID}
	var err error
	if !p.Name.Zero() {
		if out.Name, err = s.vault.Open(ctx, p.Name); err != nil && !fault.Is(err, fault.Gone) {
			return Shown{}, err
		}
	}
	if !p.Email.Zero() {
		if out.Email, err = s.vault.Open(ctx, p.Email); err != nil && !fault.Is(err, fault.Gone) {
			return Shown{}, err
		}
	}
	return out, nil
}

// Update changes what a person tells about themselves (promise F1).
func (s *Service) Update(ctx context.Context, org, id string, p Profile) (Person, error) {
	if err := CheckProfile(&p, ""); err != nil {
		return Person{}, err
	}
	sealed, err := s.Seal(ctx, org, id, string(actor.From(ctx).Kind), "", p)
	if err != nil {
		return Person{}, err
	}
	var out Person
	err = s.db.Do(ctx, "person.Update", func(tx *db.Tx) error {
		if p.Name != nil {
			if _, err := tx.Exec(`UPDATE person SET name = $3 WHERE org = $1 AND id = $2`, org, id, sealed.Name); err != nil {
				return err
			}
		}
		if p.Email != nil {
			if _, err := tx.Exec(`UPDATE person SET email = $3, email_index = $4 WHERE org = $1 AND id = $2`, org, id, sealed.Email, sealed.emailIndex); err != nil {
				return err
			}
		}
		have, ok, err := get(tx, org, id)
		if err == nil && !ok {
			err = fault.New(fault.NotFound, "person.Update", "person_unknown", "There is no such person.")
		}
		out = have
		return err
	})
	return out, err
}
