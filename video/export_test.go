package video

import "context"

// Tidy does what the periodic job does.
func (s *Service) Tidy(ctx context.Context) error { return s.tidy(ctx) }
