// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"container/heap"
	"errors"
	"time"
)

// A Timer has a function called on a loop once its time has come: never early, and late by at most a millisecond and
// what keeps the loop busy. Functions that are due together run in the order in which they are due, those due at the
// same moment in the order in which their timers were started; after a thousand of them others have their turn. A Timer
// never leaves its loop: its methods may be called only there. The loop keeps it only while it is pending, and it takes
// neither a goroutine nor a timer of the runtime's.
type Timer struct {
	loop      *loop
	conn      *Conn       // whose timer it is, nil for others
	socket    *PacketConn // the same
	onConn    func(*Conn)
	onSocket  func(*PacketConn)
	onReactor func(*Timer)

	due        int64
	sequence   uint64 // its place in the order of starts
	heapIndex  int32  // its place in the loop's schedule, -1 when it is not pending
	urgent     bool   // to be run in the next turn
	next, prev *Timer // the other pending ones of conn or socket
}

// AfterFunc has fn called on c's loop after d: in the next turn if d is zero or negative. What fn writes is sent as if
// a handler had written it, and a panic in it closes c alone. The timer stops by itself when c ends: fn is never
// called after the handler's Close, and may be called after Conn.Close, while output is still being sent. A Conn that
// stands for a session or a dialled packet socket has timers too.
func (c *Conn) AfterFunc(d time.Duration, fn func(c *Conn)) *Timer {
	c.assertOnLoop()
	t := &Timer{loop: c.loop, conn: c, onConn: fn, heapIndex: -1}
	t.start(c.loop.after(d), d <= 0)
	return t
}

// AfterFunc has fn called on the loop of s after d: in the next turn if d is zero or negative. What it sends leaves at
// once, see Send. A panic in fn is logged and costs that call alone. The timer stops by itself when s is closed.
func (s *PacketConn) AfterFunc(d time.Duration, fn func(s *PacketConn)) *Timer {
	s.assertOnLoop()
	t := &Timer{loop: s.loop, socket: s, onSocket: fn, heapIndex: -1}
	t.start(s.loop.after(d), d <= 0)
	return t
}

// AfterFunc has fn called once d has passed on the first of the reactor's loops, for what belongs to no connection.
// Any goroutine may call it, before Serve too. fn gets the timer, which it may keep for functions on the same loop,
// and Reset to be called again. It keeps nobody waiting: a timer ends with its loop, and a panic in fn is logged and
// costs that call alone. The error is ErrMailboxFull, or net.ErrClosed after the reactor's end; fn is not called then.
func (r *Reactor) AfterFunc(d time.Duration, fn func(t *Timer)) error {
	if fn == nil {
		return errors.New("reactor: AfterFunc without a function")
	}
	l := r.loops[0]
	t := &Timer{loop: l, onReactor: fn, heapIndex: -1}
	due := l.after(d)
	return l.post(task{op: opLoop, fn: func(*Conn, error) { t.start(due, d <= 0) }}, false)
}

// Stop prevents the call of the function and says whether it did: false means that it was called already, or never
// will be.
func (t *Timer) Stop() bool {
	t.loop.assertOnLoop()
	if t.heapIndex < 0 {
		return false
	}
	t.remove()
	return true
}

// Reset has the function called once more after d, or later or earlier than it would have been, and says whether the
// timer was pending. The function itself may call it. When the owner of the timer has ended it does nothing.
func (t *Timer) Reset(d time.Duration) bool {
	pending := t.Stop()
	t.start(t.loop.after(d), d <= 0)
	return pending
}

// start makes the timer pending, unless its owner has ended.
func (t *Timer) start(due int64, urgent bool) {
	if t.conn != nil && t.conn.hasEnded() || t.socket != nil && t.socket.fd < 0 {
		return
	}
	d := &t.loop.deadlines
	d.sequence++
	t.due, t.sequence, t.urgent = due, d.sequence, urgent
	heap.Push(&d.timers, t)
	if first := t.siblings(); first != nil {
		if t.next = *first; t.next != nil {
			t.next.prev = t
		}
		*first = t
	}
	if urgent {
		d.urgent++
	} else {
		due = coarse(due, 0)
	}
	d.arm(t.loop, due)
}

// remove makes the timer not pending. The clock may wake the loop once for nothing.
func (t *Timer) remove() {
	d := &t.loop.deadlines
	heap.Remove(&d.timers, int(t.heapIndex))
	if t.urgent {
		d.urgent--
	}
	if t.next != nil {
		t.next.prev = t.prev
	}
	if t.prev != nil {
		t.prev.next = t.next
	} else if first := t.siblings(); first != nil {
		*first = t.next
	}
	t.next, t.prev = nil, nil
}

// siblings is where the pending timers of the owner begin, nil if it is the reactor.
func (t *Timer) siblings() **Timer {
	switch {
	case t.conn != nil:
		return &t.conn.extra().timers
	case t.socket != nil:
		return &t.socket.timers
	}
	return nil
}

// removeTimers stops all from first on.
func removeTimers(first **Timer) {
	for *first != nil {
		(*first).remove()
	}
}

// run calls the function.
func (t *Timer) run() {
	switch {
	case t.conn != nil:
		t.loop.serve(t.conn, t.onConn)
	case t.socket != nil:
		t.loop.guard("timer", func() { t.onSocket(t.socket) })
	default:
		t.loop.guard("timer", func() { t.onReactor(t) })
	}
}

func (t *Timer) before(other *Timer) bool {
	return t.due < other.due || t.due == other.due && t.sequence < other.sequence
}
func (t *Timer) place(i int32) { t.heapIndex = i }
