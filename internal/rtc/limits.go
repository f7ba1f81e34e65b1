package rtc

import "time"

// Limits bound what clients may take. A zero field takes the default that its comment names.
type Limits struct {
	Rooms        int // open at a time; 2,000
	Participants int // of one room; 200
	Tracks       int // published by one participant at a time; 8

	JoinsPerSecond float64 // from one address, resumptions and checks of tokens included; 20
	JoinBurst      int     // that may come at once; 150: an office behind one address starts its meeting

	EntriesPerSecond float64 // of one identity into its room, resumptions not included; 0.5
	EntryBurst       int     // 6: a client that begins anew now and then

	SignalBytes     int     // of one message; 256 KiB: a session description and what goes with it
	SDPBytes        int     // of one session description; 128 KiB
	SignalPerSecond float64 // messages of one participant; 60. Those that make much work count as 20
	SignalBurst     int     // 400: candidates and track settings come in swarms

	DataBytes          int     // of one data message as it travels; 16 KiB: 15 KiB of content and who it is from
	DataPerSecond      float64 // messages of one participant; 150
	DataBurst          int     // 500
	DataBytesPerSecond float64 // of one participant; 1 MiB
	DataBytesBurst     int     // 2 MiB
	DataRefusals       int     // messages over the limits, after which a participant who goes on is removed; 2,000
	DataBuffer         int     // bytes that may wait for one receiver; 1 MiB. More is not queued for it: it cannot keep up

	DepartureTimeout time.Duration // how long a participation lasts without signalling, and twice that while media get through; 30 s
	JoinTimeout      time.Duration // how long a media connection may take to come about; 30 s
	RefreshTokens    time.Duration // a participant gets a new token this often; 5 min, and never later than half a token's life
}

const (
	secretBytes = 32
	maxName     = 128 // of a room or an identity
	pingEvery   = 5 * time.Second
	pingTimeout = 15 * time.Second
	// silentAfter is when signalling without a word of the client counts as dropped: its pings are late by then.
	silentAfter = 20 * time.Second
	// sendTimeout bounds one write of signalling; a client that does not read for so long has gone.
	sendTimeout = 10 * time.Second
	// sendQueue is how many messages may wait for a client's signalling. One that does not keep up has to resume, and is then told
	// what holds.
	sendQueue = 512
	// leaveGrace is how long a client that was told to leave may take to close by itself.
	leaveGrace = 2 * time.Second
	// answerTimeout is how long a client may take to answer an offer.
	answerTimeout = 20 * time.Second
	// maxOrphans is how many media streams may wait for the message that announces them.
	maxOrphans = 16
	// maxSubscriptions bounds the tracks that one participant receives at a time.
	maxSubscriptions = 1000
	// maxSections bounds the media sections of a client's offer. Browsers never remove one: sixty screens with their sound.
	maxSections = 128
	// maxIdle is how many sections of a subscriber's connection may be left over from tracks that are gone: a talk of eight in which each
	// comes back six times.
	maxIdle = 100
	// maxNames bounds lists of ids in one message.
	maxNames = 1000
)

func (l Limits) filled() Limits {
	fill(&l.Rooms, 2000)
	fill(&l.Participants, 200)
	fill(&l.Tracks, 8)
	fill(&l.JoinsPerSecond, 20)
	fill(&l.JoinBurst, 150)
	fill(&l.EntriesPerSecond, 0.5)
	fill(&l.EntryBurst, 6)
	fill(&l.SignalBytes, 256<<10)
	fill(&l.SDPBytes, 128<<10)
	fill(&l.SignalPerSecond, 60)
	fill(&l.SignalBurst, 400)
	fill(&l.DataBytes, 16<<10)
	fill(&l.DataPerSecond, 150)
	fill(&l.DataBurst, 500)
	fill(&l.DataBytesPerSecond, 1<<20)
	fill(&l.DataBytesBurst, 2<<20)
	fill(&l.DataRefusals, 2000)
	fill(&l.DataBuffer, 1<<20)
	fill(&l.DepartureTimeout, 30*time.Second)
	fill(&l.JoinTimeout, 30*time.Second)
	fill(&l.RefreshTokens, 5*time.Minute)
	return l
}

func fill[T int | float64 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}
