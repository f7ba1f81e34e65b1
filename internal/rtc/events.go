package rtc

import (
	"sync"
	"time"
)

// EventType says what happened.
type EventType uint8

// The events.
const (
	ParticipantJoined EventType = iota + 1
	ParticipantLeft
	RoomClosed
)

// Event is one thing that happened in a room.
type Event struct {
	Type           EventType
	Room, Identity string
	Reason         Reason // of ParticipantLeft and RoomClosed
	At             time.Time
}

// eventQueue calls the owner's function with one event after the other, so that the engine never waits for it. It has no bound of its
// own, since none of the events may get lost: what fills it is people who come and go, and Limits.EntriesPerSecond keeps one
// identity from doing that faster than the owner can follow.
type eventQueue struct {
	call func(Event)
	done chan struct{}

	mu     sync.Mutex
	some   sync.Cond
	events []Event
	closed bool
}

func newEventQueue(call func(Event)) *eventQueue {
	q := &eventQueue{call: call, done: make(chan struct{})}
	q.some.L = &q.mu
	if call == nil {
		close(q.done)
		return q
	}
	go q.run()
	return q
}

func (q *eventQueue) put(ev Event) {
	if q.call == nil {
		return
	}
	q.mu.Lock()
	if !q.closed {
		q.events = append(q.events, ev)
		q.some.Signal()
	}
	q.mu.Unlock()
}

func (q *eventQueue) run() {
	defer close(q.done)
	for {
		q.mu.Lock()
		for len(q.events) == 0 && !q.closed {
			q.some.Wait()
		}
		events := q.events
		q.events = nil
		q.mu.Unlock()
		if len(events) == 0 {
			return
		}
		for _, ev := range events {
			q.call(ev)
		}
	}
}

// close lets the events that wait be delivered, and returns then.
func (q *eventQueue) close() {
	q.mu.Lock()
	q.closed = true
	q.some.Signal()
	q.mu.Unlock()
	<-q.done
}
