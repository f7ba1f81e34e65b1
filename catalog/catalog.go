// Package catalog is the vocabulary in which Parley declares the data that it keeps: what each table,
// file, cookie, log key and recipient holds, whose it is, what it may be used for, and for how long.
//
// The declarations stand beside what they describe (chat/data.go, account/data.go…) as plain values, so the
// compiler checks their links; Validate refuses a value that nobody decided. Everything else - sealing, export,
// erasure, retention, the proof, docs/data.md - reads them. This package imports only the standard library and stores nothing.
package catalog

import "time"

// Purpose is what personal data is used for. Reading a field for a purpose that it does not declare is refused (promise B1).
type Purpose string

// The purposes.
const (
	Service    Purpose = "service"    // give the service the person asked for
	Support    Purpose = "support"    // staff answer the person
	Security   Purpose = "security"   // keep accounts and the server safe
	Operations Purpose = "operations" // run the server: delivery, jobs, limits
	Legal      Purpose = "legal"      // meet a legal duty
	Rights     Purpose = "rights"     // answer the person's own request: export, correction, erasure
)

var purposes = map[Purpose]bool{Service: true, Support: true, Security: true, Operations: true, Legal: true, Rights: true}

// Basis is the legal basis of a table's personal data (GDPR art. 6). The zero value is undecided.
type Basis string

// The legal bases in use.
const (
	Contract           Basis = "contract"
	LegitimateInterest Basis = "legitimate-interest"
	LegalObligation    Basis = "legal-obligation"
	Consent            Basis = "consent"
)

// Class names the branch of a person's keys that a column is sealed under: destroying one class leaves the others readable.
type Class string

// The key classes.
const (
	ClassService   Class = "service"
	ClassStatutory Class = "statutory" // under a legal clock: invoices
	ClassSecurity  Class = "security"  // logs that only security may read (promise B5)
	ClassArchive   Class = "archive"
)

var classes = map[Class]bool{ClassService: true, ClassStatutory: true, ClassSecurity: true, ClassArchive: true}

// Category is the sort of data in a personal column, in words that a policy uses.
type Category string

// The categories.
const (
	Identity   Category = "identity"   // names, pictures
	Contact    Category = "contact"    // e-mail, phone, postal address
	Content    Category = "content"    // what people write, say or show
	Usage      Category = "usage"      // where and how the service was used
	Credential Category = "credential" // secrets that open something
)

var categories = map[Category]bool{Identity: true, Contact: true, Content: true, Usage: true, Credential: true}

// Role is what a subject is to a row.
type Role string

// The roles of a subject.
const (
	Owner  Role = "owner"  // the row is about them: erasing them erases it
	Author Role = "author" // they made it: erasing them blanks the authorship only
	Actor  Role = "actor"  // they did something that another record keeps
)

// Subjects names the columns that lead to people, and what they are to the row. A column may hold a person's
// or member's id, or that of a thing which has one owner ("conversation").
type Subjects map[string]Role

// FieldID is the stable name of a personal field; sealed values are bound to it, so it never changes when SQL names do.
type FieldID string

// Kind is what a column holds.
type Kind uint8

// The kinds of column. The zero value is undecided.
const (
	undecided  Kind = iota
	KindScope       // the organisation
	KindLink        // the id of another row
	KindPlain       // not personal, or a declared coarse value
	KindSealed      // ciphertext under a key of the vault
	KindIndex       // blind index: keyed HMAC of a normalised value
	KindHash        // hash of a random token, or of a password
)

func (k Kind) String() string {
	return [...]string{"undecided", "scope", "link", "plain", "sealed", "blind index", "hash"}[k]
}

// Column declares one column.
type Column struct {
	Kind     Kind
	Category Category // of sealed and indexed columns
	Field    FieldID  // of sealed columns; for an index, the field it indexes
	Class    Class    // of sealed columns; ClassService unless In says otherwise
	To       string   // of links: the table whose row it names; erasure follows it
	Optional bool     // the person may leave it out (promise A1)
	Note     string   // why a plain column may be plain, when that could be doubted
}

// The columns that need no more words.
var (
	Scope = Column{Kind: KindScope}
	Link  = Column{Kind: KindLink}
	Plain = Column{Kind: KindPlain}
	Hash  = Column{Kind: KindHash}
)

// LinkTo declares a column that holds the id of a row of another table. Where the column is a subject, erasure and export follow it.
func LinkTo(table string) Column { return Column{Kind: KindLink, To: table} }

// Sealed declares a personal column that only the vault can read.
func Sealed(c Category, id FieldID) Column {
	return Column{Kind: KindSealed, Category: c, Field: id, Class: ClassService}
}

// Index declares the blind index of a sealed field.
func Index(c Category, of FieldID) Column { return Column{Kind: KindIndex, Category: c, Field: of} }

// In puts a sealed column under another key class.
func (c Column) In(class Class) Column { c.Class = class; return c }

// Maybe marks a column that the person may leave out.
func (c Column) Maybe() Column { c.Optional = true; return c }

// Because notes why a plain column may be plain.
func (c Column) Because(why string) Column { c.Note = why; return c }

// Columns declares every column of a table by its SQL name.
type Columns map[string]Column

// Erase says what erasing the owner does to a row. The zero value is undecided.
type Erase uint8

// The erasure rules.
const (
	eraseUndecided Erase = iota
	Delete               // the row goes
	Blank                // sealed columns and indexes are emptied, the row stays
	Retain               // the row stays as it is: it identifies nobody once the keys are gone, or a law demands it
)

func (e Erase) String() string { return [...]string{"undecided", "delete", "blank", "retain"}[e] }

// Retention is the longest time that a row is kept after its trigger.
type Retention struct {
	Trigger string        // column with the time, in Unix microseconds; "" when Forever
	Max     time.Duration // upper limit; an organisation may set less
	Forever string        // why there is no limit (rows that are about no person, or live as long as their parent)
}

// AtMost keeps a row for max after the time in the trigger column.
func AtMost(trigger string, max time.Duration) Retention {
	return Retention{Trigger: trigger, Max: max}
}

// WithParent keeps a row as long as what it belongs to; why names that.
func WithParent(why string) Retention { return Retention{Forever: why} }

// Day and Year are the units in which retention is declared.
const (
	Day  = 24 * time.Hour
	Year = 365 * Day
)

// KeyRule says which key of the vault a table's sealed columns are under: the key of Kind whose id stands in Column.
type KeyRule struct {
	Kind   string // "person", "member", "conversation", "project"
	Column string
}

// Table declares one table.
type Table struct {
	Name       string
	Doc        string
	Subjects   Subjects
	NoPerson   string // why nobody can be found in this table; then Subjects, Purposes and Basis stay empty
	ThirdParty string // module that owns the table's schema
	Purposes   []Purpose
	Basis      Basis
	Erase      Erase
	Keep       Retention
	Key        KeyRule // required where a column is sealed
	RowID      string  // column whose value sealed columns are bound to; "id" when empty
	Columns    Columns
}

// For lists purposes.
func For(p ...Purpose) []Purpose { return p }

// Storage declares something kept in a visitor's or member's browser (promises D1, D5).
type Storage struct {
	Name     string // "__Host-parley"
	Where    string // "cookie", "localStorage", "sessionStorage", "indexedDB"
	Who      string // "visitor", "member"
	Doc      string
	Purposes []Purpose
	Basis    Basis
	Life     time.Duration // 0: ends with the browser session
	When     string        // what the person does that writes it
}

// LogKey declares a key that log records may carry; unknown keys are dropped (promise E3).
type LogKey struct{ Name, Doc string }

// Recipient declares somebody or something that outbound connections go to (promises G1, G2, G6). Addresses come from
// the operator's configuration; an address that belongs to no recipient is refused by egress.
type Recipient struct {
	ID       string
	Doc      string
	Class    string // "store", "participant", "subprocessor", "customer-endpoint"
	Purposes []Purpose
	Fields   []FieldID // what may be sent in the clear; stores receive sealed values only
	Private  bool      // may resolve to loopback and private addresses: only what the operator configures
}

// Dataset is everything that one domain declares.
type Dataset struct {
	Domain     string
	Tables     []Table
	Browser    []Storage
	LogKeys    []LogKey
	Recipients []Recipient
}
