package account

import (
	"context"

	"parley/internal/actor"
	"parley/internal/db"
	"parley/internal/fault"
)

// SetRole changes what a member may do in an organisation. Owners and admins may; only owners make or unmake owners, and an
// organisation keeps one (Conflict, last_owner). It holds from the member's next request on, on every node.
func (s *Service) SetRole(ctx context.Context, org, member string, role actor.Role) error {
	const op = "account.SetRole"
	if err := mayManage(ctx, op, org); err != nil {
		return err
	}
	if !role.Valid() {
		return fault.Bad(op, "role", "role_unknown", "The role is one of owner, admin and agent.")
	}
	return s.db.Do(ctx, op, func(tx *db.Tx) error {
		if err := mayChange(ctx, tx, op, org, member, role); err != nil {
			return err
		}
		if err := setRole(tx, org, member, role); err != nil {
			return err
		}
		s.revoke(tx, Revocation{Member: member})
		return audit(actor.With(ctx, scoped(ctx, org)), tx, "member.role_set", member)
	})
}

// RemoveMember takes a member out of an organisation; members may leave by themselves. Whoever belongs to no organisation any
// more is erased: the key first, then the rows. What they wrote stays, without their name.
func (s *Service) RemoveMember(ctx context.Context, org, member string) error {
	const op = "account.RemoveMember"
	if a := actor.From(ctx); a.Kind != actor.Member || a.ID != member || a.Org != org {
		if err := mayManage(ctx, op, org); err != nil {
			return err
		}
	}
	err := s.db.Do(ctx, op, func(tx *db.Tx) error {
		if err := mayChange(ctx, tx, op, org, member, ""); err != nil {
			return err
		}
		if err := deleteMembership(tx, org, member); err != nil {
			return err
		}
		if err := retireMember(tx, member); err != nil {
			return err
		}
		s.revoke(tx, Revocation{Member: member})
		return audit(actor.With(ctx, scoped(ctx, org)), tx, "member.removed", member)
	})
	s.names.forget()
	if err != nil {
		return err
	}
	return s.eraseRetired(ctx)
}

// mayChange checks what needs the member's present role, and locks the organisation so that two owners cannot remove each other.
func mayChange(ctx context.Context, tx *db.Tx, op, org, member string, to actor.Role) error {
	if err := lockOrg(tx, org); err != nil {
		return err
	}
	have, err := roleIn(tx, org, member)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.NotFound, op, "member_unknown", "There is no such member.")
	}
	if err != nil {
		return err
	}
	a := actor.From(ctx)
	if (have == actor.Owner || to == actor.Owner) && a.Kind == actor.Member && a.Role != actor.Owner {
		return fault.New(fault.Forbidden, op, "role_needed", "Only an owner makes or unmakes owners.")
	}
	if have != actor.Owner || to == actor.Owner {
		return nil
	}
	owners, err := countOwners(tx, org)
	if err == nil && owners < 2 {
		err = fault.New(fault.Conflict, op, "last_owner", "An organisation keeps at least one owner. Make somebody else an owner first.")
	}
	return err
}

// eraseRetired destroys the keys of members who belong nowhere, then deletes them. Sweep finishes what a crash left.
func (s *Service) eraseRetired(ctx context.Context) error {
	const op = "account.erase"
	var ids []string
	err := s.db.Read(ctx, op, func(tx *db.Tx) (err error) {
		ids, err = retiredMembers(tx)
		return err
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if _, err := s.vault.Destroy(ctx, memberKey(id)); err != nil {
			return fault.Wrap(fault.Internal, op, err)
		}
		if err := s.db.Do(ctx, op, func(tx *db.Tx) error { return deleteMember(tx, id) }); err != nil {
			return err
		}
		s.log.InfoContext(ctx, "member erased", "member", id)
	}
	return nil
}
