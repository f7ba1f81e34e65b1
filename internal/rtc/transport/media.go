package transport

import (
	"fmt"

	"github.com/pion/sdp/v3"
	"github.com/pion/webrtc/v4"
)

// repairedRID names the stream that a retransmission belongs to (RFC 8852).
const repairedRID = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"

// direction is what a peer connection is for: media comes in on a publisher's and goes out on a subscriber's.
type direction uint8

const (
	incoming direction = iota
	outgoing
)

// mediaEngine holds the codecs and header extensions of a direction. Payload types are those that browsers use
// themselves, so that an offer of theirs needs no renumbering. VP8 comes first: everybody decodes it.
func mediaEngine(d direction) (*webrtc.MediaEngine, error) {
	m := &webrtc.MediaEngine{}
	audio := []webrtc.RTCPFeedback{{Type: webrtc.TypeRTCPFBTransportCC}, {Type: webrtc.TypeRTCPFBNACK}}
	video := []webrtc.RTCPFeedback{
		{Type: webrtc.TypeRTCPFBGoogREMB}, {Type: webrtc.TypeRTCPFBTransportCC},
		{Type: webrtc.TypeRTCPFBCCM, Parameter: "fir"}, {Type: webrtc.TypeRTCPFBNACK}, {Type: webrtc.TypeRTCPFBNACK, Parameter: "pli"},
	}
	if err := registerAudio(m, audio); err != nil {
		return nil, err
	}
	for _, c := range []struct {
		mime, fmtp string
		pt         webrtc.PayloadType
	}{
		{webrtc.MimeTypeVP8, "", 96},
		{webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f", 106}, // constrained baseline
		{webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42001f", 102}, // baseline
		{webrtc.MimeTypeH264, "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=640c1f", 112}, // constrained high
		{webrtc.MimeTypeVP9, "profile-id=0", 98},
	} {
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: c.pt, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: c.mime, ClockRate: 90000, SDPFmtpLine: c.fmtp, RTCPFeedback: video,
		}}, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
		if err := m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: c.pt + 1, RTPCodecCapability: webrtc.RTPCodecCapability{
			MimeType: webrtc.MimeTypeRTX, ClockRate: 90000, SDPFmtpLine: fmt.Sprintf("apt=%d", c.pt),
		}}, webrtc.RTPCodecTypeVideo); err != nil {
			return nil, err
		}
	}
	return m, registerExtensions(m, d)
}

func registerAudio(m *webrtc.MediaEngine, feedback []webrtc.RTCPFeedback) error {
	opus := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2,
		SDPFmtpLine: "minptime=10;useinbandfec=1", RTCPFeedback: feedback}
	if err := m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 111, RTPCodecCapability: opus}, webrtc.RTPCodecTypeAudio); err != nil {
		return err
	}
	red := webrtc.RTPCodecCapability{MimeType: "audio/red", ClockRate: 48000, Channels: 2, SDPFmtpLine: "111/111"}
	return m.RegisterCodec(webrtc.RTPCodecParameters{PayloadType: 63, RTPCodecCapability: red}, webrtc.RTPCodecTypeAudio)
}

// registerExtensions says which header extensions are negotiated. Towards subscribers only those that the server
// writes itself: what a publisher's packet carried would otherwise have to be kept under another number.
func registerExtensions(m *webrtc.MediaEngine, d direction) error {
	both := []string{sdp.SDESMidURI, sdp.TransportCCURI}
	audio, video := both, both
	if d == incoming {
		audio = append(audio[:2:2], sdp.AudioLevelURI)
		video = append(video[:2:2], sdp.SDESRTPStreamIDURI, repairedRID, sdp.ABSSendTimeURI)
	}
	for _, uri := range audio {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeAudio); err != nil {
			return err
		}
	}
	for _, uri := range video {
		if err := m.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeVideo); err != nil {
			return err
		}
	}
	return nil
}
