package rtc

import "sync"

// mailbox runs tasks one at a time, in order. All that a participant decides runs in its own, so that none of it needs a lock; tasks
// come from its client, which waits for each, from its peer connections, and from the room, whose tasks are few and bounded by
// what other clients may do.
type mailbox struct {
	mu     sync.Mutex
	some   sync.Cond
	tasks  []func()
	closed bool
}

func newMailbox() *mailbox {
	m := &mailbox{}
	m.some.L = &m.mu
	return m
}

// put adds a task; false means that no task is run any more.
func (m *mailbox) put(task func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return false
	}
	m.tasks = append(m.tasks, task)
	m.some.Signal()
	return true
}

// close lets no more tasks in. Those that wait are still run.
func (m *mailbox) close() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.some.Signal()
}

// run runs tasks until the mailbox is closed and empty. guard is called around each.
func (m *mailbox) run(guard func(func())) {
	var tasks, spare []func()
	for {
		m.mu.Lock()
		for len(m.tasks) == 0 && !m.closed {
			m.some.Wait()
		}
		if len(m.tasks) == 0 {
			m.mu.Unlock()
			return
		}
		tasks, m.tasks = m.tasks, spare
		m.mu.Unlock()
		for i, task := range tasks {
			guard(task)
			tasks[i] = nil
		}
		spare = tasks[:0]
		if cap(spare) > 64 {
			spare = nil
		}
	}
}
