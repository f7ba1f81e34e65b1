package video

import "parley/internal/api"

// widgetRoutes are the visitor's: the same calls by the same rules, of the own conversations alone.
func (s *Service) widgetRoutes() []api.Route {
	visitor := func(method, path, name, summary string) api.Route {
		return api.Route{Method: method, Path: "/widget" + path, Access: api.Visitor, Name: name, Summary: summary, Tag: "Widget"}
	}
	return s.routes(visitor, "own-")
}
