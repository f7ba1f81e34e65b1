package bench

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// LiveKit is a LiveKit server that runs already, to be measured with the same generator.
type LiveKit struct {
	URL         string // http://host:port; "" = none
	Key, Secret string // of its configuration
	PID         int    // of its process on this machine, for processor time and memory; 0: they are left out
}

// token makes an access token: everything is allowed in one room, which the server opens for who comes first.
func (l LiveKit) token(room, identity string) string {
	now := time.Now()
	text := encode(map[string]any{"alg": "HS256", "typ": "JWT"}) + "." + encode(map[string]any{
		"iss": l.Key, "sub": identity, "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
		"video": map[string]any{"room": room, "roomJoin": true, "canPublish": true, "canSubscribe": true, "canPublishData": true},
	})
	mac := hmac.New(sha256.New, []byte(l.Secret))
	mac.Write([]byte(text))
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

func encode(v map[string]any) string {
	text, err := json.Marshal(v)
	if err != nil {
		return "" // it is strings, numbers and booleans
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
