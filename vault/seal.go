package vault

import (
	"context"

	"parley/catalog"
	"parley/internal/actor"
	"parley/internal/fault"
)

// Seal seals plain for one place: the field of the row in the key's organisation. The field's declaration must name the
// key's kind and class. The result is bound to that place. Gone (code "erased") when the key was destroyed; Unavailable
// when the key store is away and the key is not in memory, or this node lost its lease; Internal for what is a mistake in the calling code.
func (v *Vault) Seal(ctx context.Context, key Key, field catalog.FieldID, row, plain string, p Provenance) (Sealed, error) {
	const op = "vault.Seal"
	f, ok := v.catalog.Field(field)
	if !ok {
		return Sealed{}, internal(op, "field_undeclared", "the catalogue declares no such field")
	}
	key = key.norm()
	if f.Class != key.Class {
		return Sealed{}, internal(op, "key_class", "the field is declared in another key class")
	}
	if f.Table.Key.Kind != key.Kind {
		return Sealed{}, internal(op, "key_kind", "the field's table is declared under another kind of key")
	}
	if row == "" {
		return Sealed{}, internal(op, "row_missing", "a value is sealed for a row")
	}
	k := &openKey{name: key}
	if !NoOp {
		var err error
		if k, err = v.keyByName(ctx, op, key); err != nil {
			return Sealed{}, err
		}
	}
	b, err := k.seal(field, row, plain, p)
	if err != nil {
		return Sealed{}, internal(op, "seal", err.Error())
	}
	return (&sealed{b: b, org: key.Org, field: field, row: row}).hide(), nil
}

func (k *openKey) seal(field catalog.FieldID, row, plain string, p Provenance) ([]byte, error) {
	h := header{key: k.id, version: k.version, field: field, prov: p}
	size := h.size()
	out, err := h.appendTo(make([]byte, 0, size+minCipher+len(plain)))
	if err != nil {
		return nil, err
	}
	if NoOp {
		return append(out, plain...), nil
	}
	ct, err := k.aead.Encrypt([]byte(plain), bound(k.name.Org, field, row, k.version, out))
	if err != nil {
		return nil, errHeader // tink's own words are not needed: only a value over 64 GiB fails
	}
	return append(out, ct...), nil
}

// Open opens a value for the actor and the purpose in ctx. The zero Sealed opens to the zero Text.
//
// Forbidden: nobody acts ("no_actor"), no purpose is named ("no_purpose"), the field does not declare the purpose
// ("purpose_refused"), the actor works for another organisation ("other_org"). Gone ("erased"): the key is destroyed.
// Unavailable: the key store is away and the key is not in memory, or this node lost its lease ("lease_lost"). Internal:
// the value was not bound ("unbound"), or was sealed for another place or changed ("unreadable").
func (v *Vault) Open(ctx context.Context, s Sealed) (Text, error) {
	const op = "vault.Open"
	if s.v == nil {
		return Text{}, nil
	}
	in := *s.v
	if in.org == "" || in.field == "" || in.row == "" {
		return Text{}, internal(op, "unbound", "a value is bound to its place before it is opened")
	}
	if err := v.permitted(ctx, op, in); err != nil {
		return Text{}, err
	}
	h, n, err := parseHeader(in.b)
	if err != nil || h.field != in.field {
		return Text{}, unreadable(op)
	}
	if NoOp {
		text := string(in.b[n:])
		return Text{&text}, nil
	}
	k, err := v.keyByID(ctx, op, h.key)
	if err != nil {
		return Text{}, err
	}
	if k.name.Org != in.org || k.version != h.version || k.aead == nil {
		return Text{}, unreadable(op)
	}
	plain, err := k.aead.Decrypt(in.b[n:], bound(in.org, in.field, in.row, h.version, in.b[:n]))
	if err != nil {
		return Text{}, unreadable(op)
	}
	text := string(plain)
	clear(plain)
	return Text{&text}, nil
}

// Reseal opens a value under ctx, as Open does, and seals it under another key for another place, with the provenance it had. Nobody
// sees the plain value. A legal hold keeps its named fields that way, before the key they were under is destroyed.
func (v *Vault) Reseal(ctx context.Context, s Sealed, key Key, field catalog.FieldID, row string) (Sealed, error) {
	text, err := v.Open(ctx, s)
	if err != nil || text.Zero() {
		return Sealed{}, err
	}
	prov, err := s.Provenance()
	if err != nil {
		return Sealed{}, unreadable("vault.Reseal")
	}
	return v.Seal(ctx, key, field, row, text.Text(), prov)
}

func unreadable(op string) error {
	return internal(op, "unreadable", "a stored value was changed, or does not belong where it was found")
}

// permitted says whether ctx may open what is bound to that place.
func (v *Vault) permitted(ctx context.Context, op string, s *sealed) error {
	refuse := func(code, text string) error { return fault.New(fault.Forbidden, op, code, text) }
	f, ok := v.catalog.Field(s.field)
	if !ok {
		return internal(op, "field_undeclared", "the catalogue declares no such field")
	}
	who := actor.From(ctx)
	if who.Zero() {
		return refuse("no_actor", "personal data is opened for somebody")
	}
	purpose := actor.PurposeOf(ctx)
	if purpose == "" {
		return refuse("no_purpose", "personal data is opened for a purpose")
	}
	// What the security class holds serves security alone, whatever else its table is for (promise B5).
	if !f.Allows(purpose) || f.Class == catalog.ClassSecurity && purpose != catalog.Security {
		return refuse("purpose_refused", "the field is not declared for this purpose")
	}
	if who.Org != s.org && who.Kind != actor.System && s.org != Install {
		return refuse("other_org", "the value belongs to another organisation")
	}
	return nil
}
