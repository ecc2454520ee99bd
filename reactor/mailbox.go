// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"net"
	"sync"
)

// A task is work handed to a loop by another goroutine, or put off by the loop itself.
type task struct {
	op  taskOp
	c   *Conn
	fn  func(*Conn, error)
	out segment
}

type taskOp uint8

const (
	opDo      taskOp = iota // fn(c, nil), or fn(c, net.ErrClosed) if c has ended
	opWrite                 // write out to c
	opClose                 // c.Close
	opRelease               // end a Hold of c
	opOpen                  // c is a new connection of this loop
	opLoop                  // fn(nil, nil), for the loop itself
)

// A mailbox is a loop's queue of tasks: first in, first out for each sender, one lock for a batch on the loop's side.
type mailbox struct {
	mu     sync.Mutex
	tasks  []task
	limit  int
	closed bool
	timed  bool  // keep since
	since  int64 // when the first of tasks was put

	// running is the batch that the loop took and is working on; only the loop touches it.
	running []task
	next    int
	lag     Histogram // how long the first task of each batch waited, if timed
}

// put adds t. It fails with ErrMailboxFull at the limit, unless t is the reactor's own work, which is bounded
// elsewhere, and with net.ErrClosed once the loop has ended.
func (m *mailbox) put(t task, own bool) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return net.ErrClosed
	}
	if len(m.tasks) >= m.limit && !own {
		return ErrMailboxFull
	}
	if t.op == opWrite && !t.c.reserve(len(t.out.B)) {
		return net.ErrClosed
	}
	if m.timed && len(m.tasks) == 0 {
		m.since = stopwatch()
	}
	m.tasks = append(m.tasks, t)
	return nil
}

// take returns the next task of the running batch. It starts a new batch only if fresh is true, so that what a task
// posts waits for the next round.
func (m *mailbox) take(fresh bool) (task, bool) {
	if m.next == len(m.running) {
		if !fresh || !m.swap() {
			return task{}, false
		}
	}
	t := m.running[m.next]
	m.running[m.next] = task{}
	m.next++
	return t, true
}

// swap makes what has gathered the running batch and reuses the old one's memory.
func (m *mailbox) swap() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	spare := m.running[:0]
	if cap(spare) > maxTasksPerTurn*writesPerTask {
		spare = nil
	}
	m.running, m.tasks, m.next = m.tasks, spare, 0
	if m.timed && len(m.running) > 0 {
		m.lag.add(stopwatch() - m.since)
	}
	return len(m.running) > 0
}

// length returns how many tasks wait. Any goroutine.
func (m *mailbox) length() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tasks)
}

// waiting says whether any task is left.
func (m *mailbox) waiting() bool {
	if m.next < len(m.running) {
		return true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.tasks) > 0
}

// close refuses further tasks.
func (m *mailbox) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
}
