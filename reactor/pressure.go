// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

// MaxBuffered: past it reading pauses everywhere, and the connections that hold most are closed until the rest fits.

// charge accounts for n more bytes buffered. Any goroutine.
func (r *Reactor) charge(n int64) {
	total := r.buffered.Add(n)
	switch {
	case n > 0 && total > r.opts.MaxBuffered:
		if !r.pressed.Swap(true) {
			r.opts.Logger.Warn("reactor: over the buffer limit, reading pauses", "bytes", total, "limit", r.opts.MaxBuffered)
		}
		if !r.shedding.Swap(true) {
			go r.shed()
		}
		r.relieve() // who gave bytes back meanwhile may not have seen pressed
	case n < 0 && r.pressed.Load():
		r.relieve()
	}
}

// relieve has reading go on, if enough was given back.
func (r *Reactor) relieve() {
	if r.buffered.Load() <= r.relief() && r.pressed.Swap(false) {
		for _, l := range r.loops {
			l.wake()
		}
	}
}

// relief is the amount at which reading goes on, far enough below the limit not to stop again at once.
func (r *Reactor) relief() int64 { return r.opts.MaxBuffered - r.opts.MaxBuffered/8 }

// shed closes the largest holders until reading can go on. It runs on a goroutine of its own, one at a time.
func (r *Reactor) shed() {
	for {
		closed := r.closeLargest()
		r.shedding.Store(false)
		if !closed || r.buffered.Load() <= r.relief() || r.shedding.Swap(true) {
			return
		}
	}
}

// closeLargest closes the largest holders until reading can go on, and says whether it closed any.
func (r *Reactor) closeLargest() (closedAny bool) {
	var conns []*Conn
	for _, l := range r.loops {
		conns = l.registry.snapshot(conns)
	}
	for excess := r.buffered.Load() - r.relief(); excess > 0; {
		largest := -1
		var most int64
		for i, c := range conns {
			if n := c.holding(); n > most && !c.hasEnded() {
				largest, most = i, n
			}
		}
		if largest < 0 {
			return closedAny
		}
		victim := conns[largest]
		conns[largest] = conns[len(conns)-1]
		conns = conns[:len(conns)-1]
		excess -= most
		r.opts.Logger.Warn("reactor: over the buffer limit, closing the largest holder", "conn", victim.tuple.String(), "id", victim.id, "bytes", most)
		closed := make(chan struct{})
		_ = victim.loop.post(task{op: opDo, c: victim, fn: func(c *Conn, _ error) { c.fail(ErrBufferLimit) }}, true)
		// What it held is given back at the end of that step, before the next task.
		if victim.loop.postLoop(func() { close(closed) }) == nil {
			<-closed
			closedAny = true
		}
	}
	return closedAny
}

// holding returns how much memory the connection's buffers take. Any goroutine.
func (c *Conn) holding() int64 { return c.held.Load()&^heldEnded + int64(c.room.Load()) }

// park stops reading from a connection that has input while the reactor is over its limit.
func (l *loop) park(c *Conn) {
	c.flags |= fParked
	c.stops(&l.counts.Pressure, StopPressure)
	l.parked = append(l.parked, c)
}

// unpark lets them read again.
func (l *loop) unpark() {
	if len(l.parked) == 0 || l.r.pressed.Load() {
		return
	}
	for _, c := range l.parked {
		c.flags &^= fParked
		c.expectAgain()
		c.noteLasting(TraceResumed, int(StopPressure), 0)
		c.later()
	}
	clear(l.parked)
	l.parked = l.parked[:0]
}
