package vault

import (
	"encoding/binary"

	"github.com/google/uuid"
	"github.com/tink-crypto/tink-go/v2/tink"

	"parley/catalog"
	"parley/internal/fault"
)

// Install is the organisation of installation-wide keys: members belong to it. Its fields open for actors of every
// organisation, and it cannot be destroyed.
const Install = "install"

// The kinds of key that callers do not create: an organisation's and a blind index's.
const (
	kindOrg   = "organisation"
	kindIndex = "index"
)

// Key names a node of the key tree: master → organisation → (person or member, class) → thing. ID is the subject's id, a UUID;
// it must not be something a person chose. An empty Class means catalog.ClassService.
type Key struct {
	Org   string
	Kind  string // "person", "member", "conversation", "project"
	ID    string
	Class catalog.Class
}

// OrgKey names an organisation's own key; destroying it destroys every key of the organisation.
func OrgKey(org string) Key { return Key{Org: org, Kind: kindOrg, ID: org} }

// New is a key to create below a parent. A zero Parent means the organisation.
type New struct{ Key, Parent Key }

// maxName bounds the parts of a Key, in bytes.
const maxName = 128

// norm gives the key the class that it stands for.
func (k Key) norm() Key {
	switch {
	case k.Kind == kindOrg:
		k.Class = ""
	case k.Class == "":
		k.Class = catalog.ClassService
	}
	return k
}

// check refuses names that cannot be a key's. It expects a normalised key.
func (k Key) check(op string) error {
	for _, s := range [...]string{k.Org, k.Kind, k.ID} {
		if s == "" || len(s) > maxName {
			return fault.New(fault.Internal, op, "key_name", "a key needs an organisation, a kind and an id")
		}
	}
	switch k.Class {
	case catalog.ClassService, catalog.ClassStatutory, catalog.ClassSecurity, catalog.ClassArchive:
		if k.Kind != kindOrg && k.Kind != kindIndex {
			return nil
		}
	case "":
		if k.Kind == kindOrg && k.ID == k.Org {
			return nil
		}
	}
	return fault.New(fault.Internal, op, "key_name", "no such kind or class of key")
}

// keyID is a key row's id in the form that sealed headers carry.
type keyID [16]byte

func parseKeyID(s string) (keyID, bool) {
	id, err := uuid.Parse(s)
	return keyID(id), err == nil
}

func (id keyID) String() string { return uuid.UUID(id).String() }

// openKey is a key in memory, ready for use.
type openKey struct {
	id      keyID
	name    Key
	version uint32
	above   []keyID // its ancestors, nearest first
	aead    tink.AEAD
	raw     []byte // of blind-index keys only, which are HMAC keys
}

func (k *openKey) hit(gone map[keyID]bool) bool {
	if gone[k.id] {
		return true
	}
	for _, a := range k.above {
		if gone[a] {
			return true
		}
	}
	return false
}

// child reports the ancestors of a key below k.
func (k *openKey) chain() []keyID { return append([]keyID{k.id}, k.above...) }

// appendPart adds s with its length, so that neighbouring parts cannot run into each other.
func appendPart(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint32(b, uint32(len(s)))
	return append(b, s...)
}
