package rtc

import (
	"parley/internal/fault"
	"parley/internal/rtc/signal"
)

// handle does what a message of the client asks for.
func (p *participant) handle(c *signalConn, m *signal.SignalRequest) {
	if p.conn != c {
		return // the client has resumed elsewhere
	}
	switch m := m.GetMessage().(type) {
	case *signal.SignalRequest_Offer:
		p.offer(m.Offer)
	case *signal.SignalRequest_Answer:
		p.sub.answered(m.Answer)
	case *signal.SignalRequest_Trickle:
		// The client's addresses are not needed: it opens the way (ICE-lite). They are not read, so that none is kept.
	case *signal.SignalRequest_AddTrack:
		p.addTrack(m.AddTrack)
	case *signal.SignalRequest_Mute:
		p.muteTrack(m.Mute)
	case *signal.SignalRequest_Subscription:
		p.updateSubscription(m.Subscription)
	case *signal.SignalRequest_TrackSetting:
		p.updateSettings(m.TrackSetting)
	case *signal.SignalRequest_Leave:
		p.leave(ReasonLeft)
	case *signal.SignalRequest_SubscriptionPermission:
		p.permit(m.SubscriptionPermission)
	case *signal.SignalRequest_SyncState:
		p.synchronise(m.SyncState)
	case *signal.SignalRequest_Ping:
		p.send(&signal.SignalResponse{Message: &signal.SignalResponse_Pong{Pong: p.engine.now().UnixMilli()}})
	case *signal.SignalRequest_PingReq:
		p.send(&signal.SignalResponse{Message: &signal.SignalResponse_PongResp{PongResp: &signal.Pong{
			LastPingTimestamp: m.PingReq.GetTimestamp(), Timestamp: p.engine.now().UnixMilli()}}})
	case *signal.SignalRequest_UpdateMetadata:
		p.refuse(metadataRefused(), func(r *signal.RequestResponse) { r.RequestId = m.UpdateMetadata.GetRequestId() })
	case *signal.SignalRequest_UpdateVideoTrack:
		p.resize(m.UpdateVideoTrack)
	case *signal.SignalRequest_PublishDataTrackRequest:
		p.refuse(dataTracksRefused(), func(r *signal.RequestResponse) {
			handle := m.PublishDataTrackRequest.GetPubHandle()
			r.Request = &signal.RequestResponse_PublishDataTrack{PublishDataTrack: &signal.PublishDataTrackRequest{PubHandle: handle}}
		})
	default:
		// Layers and audio features are known from add_track; scenarios of accidents are not played; the rest is of protocols to
		// come. None of it needs an answer.
	}
}

func metadataRefused() *fault.Error {
	return fault.New(fault.Forbidden, "rtc.metadata", "metadata_refused", "Participants have no names, metadata or attributes here.")
}

func dataTracksRefused() *fault.Error {
	return fault.New(fault.Forbidden, "rtc.dataTrack", "data_tracks_refused", "Data tracks are not carried here. Use data messages.")
}

// refuse tells the client that a request is not granted, and why. name says which request it was.
func (p *participant) refuse(f *fault.Error, name func(*signal.RequestResponse)) {
	r := refusal(f)
	if name != nil {
		name(r)
	}
	p.send(&signal.SignalResponse{Message: &signal.SignalResponse_RequestResponse{RequestResponse: r}})
}

// synchronise takes over what a client that has resumed believes about its subscriptions: messages of before may have been lost.
func (p *participant) synchronise(s *signal.SyncState) {
	if u := s.GetSubscription(); u != nil && len(u.GetTrackSids()) <= maxNames {
		p.updateSubscription(u)
	}
	if sids := s.GetTrackSidsDisabled(); len(sids) > 0 && len(sids) <= maxNames {
		p.updateSettings(&signal.UpdateTrackSettings{TrackSids: sids, Disabled: true, Quality: signal.VideoQuality_HIGH})
	}
}
