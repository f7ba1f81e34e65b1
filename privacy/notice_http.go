package privacy

import (
	"context"
	"net/http"

	"parley/catalog"
	"parley/internal/api"
)

const tagNotices = "Notices"

// NoticeView is a notice as it is shown.
type NoticeView struct {
	ID           string   `json:"id"`
	Version      string   `json:"version" doc:"Say it when acknowledging"`
	Lang         string   `json:"lang" doc:"The language that the text is in"`
	Title        string   `json:"title"`
	Paragraphs   []string `json:"paragraphs" nullable:"false"`
	Acknowledged bool     `json:"acknowledged" doc:"Whether the caller has acknowledged this version"`
}

type noticeInput struct {
	ID   string `path:"id" maxLength:"64"`
	Lang string `query:"lang" maxLength:"35" doc:"BCP 47; without it the language of Accept-Language"`
}

type noticeOutput struct{ Body NoticeView }

type acknowledgeInput struct {
	ID   string `path:"id" maxLength:"64"`
	Body struct {
		Version string `json:"version" maxLength:"32"`
		Surface string `json:"surface" maxLength:"32" doc:"Where it was shown: widget, console or preflight"`
		Lang    string `json:"lang,omitempty" maxLength:"35" doc:"The language that it was shown in; without it that of Accept-Language"`
	}
}

type none struct{}

func (s *Service) noticeRoutes() (out []api.Route) {
	for _, r := range []struct {
		access         api.Access
		prefix, of     string
		tag, addressed string
	}{{api.Member, "", "", tagNotices, "the member"}, {api.Visitor, "/widget", "own-", "Widget", "the visitor"}} {
		get := api.Route{Method: "GET", Path: r.prefix + "/notices/{id}", Access: r.access, Name: "get-" + r.of + "notice",
			Summary: "What " + r.addressed + " has to know first; media: before camera and microphone open", Tag: r.tag}
		say := api.Route{Method: "POST", Path: r.prefix + "/notices/{id}/acknowledge", Access: r.access, Purpose: catalog.Legal, Status: http.StatusNoContent,
			Name: "acknowledge-" + r.of + "notice", Summary: "Say that it was read", Tag: r.tag}
		out = append(out, api.Op(get, s.httpNotice), api.Op(say, s.httpAcknowledge))
	}
	return out
}

func (s *Service) httpNotice(ctx context.Context, in *noticeInput) (*noticeOutput, error) {
	n, done, err := s.Notice(ctx, in.ID, langOr(ctx, in.Lang))
	return &noticeOutput{NoticeView{ID: n.ID, Version: n.Version, Lang: n.Lang, Title: n.Title, Paragraphs: n.Paragraphs, Acknowledged: done}}, err
}

func (s *Service) httpAcknowledge(ctx context.Context, in *acknowledgeInput) (*none, error) {
	return nil, s.Acknowledge(ctx, in.ID, in.Body.Version, langOr(ctx, in.Body.Lang), in.Body.Surface)
}

func langOr(ctx context.Context, lang string) string {
	if lang == "" {
		return api.LocaleOf(ctx)
	}
	return lang
}
