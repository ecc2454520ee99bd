// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import "time"

// Deadlines of one connection. All of them are one entry of the loop's schedule, the moment to look again: expire
// looks at everything that the connection may be late with. So what moves a deadline away touches no schedule.

// SetDeadline calls SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	if err := c.SetReadDeadline(t); err != nil {
		return err
	}
	return c.SetWriteDeadline(t)
}

// SetReadDeadline closes the connection with ErrReadTimeout if no byte has been received between now and t: never
// early, but at once, after the running method has returned, if t has passed. The next byte ends the deadline, as
// does the zero time; it is set again for each that must come. It waits while nothing is expected of the peer: after
// its end, and while the connection is held, paused, suspended or blocked; when that is over, what waits in the
// socket has come in time. The error is net.ErrClosed once the connection has ended.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.assertOnLoop()
	if c.phase >= phaseLingering {
		return c.noStream()
	}
	if t.IsZero() {
		c.flags &^= fReadBy
		return nil
	}
	c.flags |= fReadBy
	left := c.loop.clock.until(t)
	by := c.loop.after(left)
	c.extra().readBy = by
	if left > 0 {
		by = coarse(by, 0)
	}
	c.loop.deadlines.set(c.loop, c, by)
	return nil
}

// SetWriteDeadline bounds, in place of WriteTimeout, how long output may wait: if the kernel takes none of it until t,
// the connection closes with ErrWriteTimeout. It looks at progress, so a peer that is slow but reads is not stalled:
// each byte taken gives output as much time again as t was away when it was set. That holds for later output too,
// until the deadline is set again; the zero time gives WriteTimeout back. A time that has passed closes the connection
// as soon as output has to wait. The error is net.ErrClosed once the connection has ended.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.assertOnLoop()
	if c.phase >= phaseLingering {
		return c.noStream()
	}
	x := c.extra()
	if t.IsZero() {
		x.writeLimit = 0
	} else {
		x.writeLimit = min(max(c.loop.clock.until(t), 1), maxDuration)
	}
	c.startStall()
	return nil
}

// SetIdleTimeout replaces StreamOptions.IdleTimeout for this connection and counts from now. Zero and negative
// durations mean never.
func (c *Conn) SetIdleTimeout(d time.Duration) {
	c.assertOnLoop()
	if c.phase >= phaseLingering {
		return
	}
	c.moved = 0
	if c.extra().idleLimit = min(d, maxDuration); d <= 0 {
		c.rare.idleLimit = off
	}
	c.startIdling()
}

// startIdling starts the clock of the idle timeout, if there is one.
func (c *Conn) startIdling() {
	if limit := c.idleLimit(); limit > 0 {
		c.moved = c.loop.clock.now()
		c.lookAfter(c.moved, limit)
	}
}

// startSilence starts the clock of the first byte, if it has one.
func (c *Conn) startSilence() {
	if limit := c.origin.opts.FirstByteTimeout; limit > 0 && !c.origin.dialled {
		c.flags |= fSilent
		c.extra().awaited = c.loop.clock.now()
		c.lookAfter(c.rare.awaited, limit)
	}
}

// startStall starts the clock of output that waits, and returns what it says.
func (c *Conn) startStall() int64 {
	t := c.loop.clock.now()
	c.extra().progress = t
	if limit := c.writeLimit(); limit > 0 {
		c.lookAfter(t, limit)
	}
	return t
}

func (c *Conn) idleLimit() time.Duration {
	if c.rare != nil && c.rare.idleLimit != 0 {
		return c.rare.idleLimit
	}
	return c.origin.opts.IdleTimeout
}

func (c *Conn) writeLimit() time.Duration {
	if c.rare != nil && c.rare.writeLimit != 0 {
		return c.rare.writeLimit
	}
	return c.origin.opts.WriteTimeout
}

// awaitLimit is the bound on what rare.awaited began, and the error for passing it.
func (c *Conn) awaitLimit() (time.Duration, error) {
	if c.flags&fSilent != 0 {
		return c.origin.opts.FirstByteTimeout, ErrFirstByteTimeout
	}
	return c.origin.opts.FrameTimeout, ErrFrameTimeout
}

// stir notes that a byte moved, of a connection that may idle. When is asked by the next tick.
func (c *Conn) stir() {
	c.moved = unstamped
	c.loop.deadlines.stampLater(c, c.idleLimit())
}

// heard ends what the first byte to arrive ends.
func (c *Conn) heard() {
	if c.flags&fSilent != 0 {
		c.rare.awaited = 0
	}
	c.flags &^= fSilent | fReadBy
}

// awaitRest notes that input was left unconsumed, or none is left: advanced says whether some was consumed. The rest
// of a frame is awaited from when its first byte was left.
func (c *Conn) awaitRest(advanced bool) {
	limit := c.origin.opts.FrameTimeout
	switch {
	case limit <= 0:
	case c.input == nil:
		if c.rare != nil {
			c.rare.awaited = 0
		}
	case advanced || c.rare == nil || c.rare.awaited == 0:
		if x := c.extra(); x.awaited != unstamped {
			x.awaited = unstamped
			c.loop.deadlines.stampLater(c, limit)
		}
	}
}

// stamp fills in the times that are unstamped.
func (c *Conn) stamp(now int64) {
	if c.moved == unstamped {
		c.moved = now
	}
	if c.rare != nil && c.rare.awaited == unstamped && c.phase == phaseOpen {
		c.rare.awaited = now
		limit, _ := c.awaitLimit()
		c.lookAfter(now, limit)
	}
}

// expects says whether the peer may be late: not while its input would not be taken.
func (c *Conn) expects() bool {
	return c.holds == 0 && c.flags&(fStopped|fParked|fEOF|fLastRead) == 0
}

// released gives a connection its times again that is not held any more.
func (c *Conn) released() {
	if c.moved != 0 {
		c.moved = c.loop.clock.now()
	}
	c.expectAgain()
}

// expectAgain gives the peer its time again when its input is taken again.
func (c *Conn) expectAgain() {
	x := c.rare
	if x == nil || c.phase != phaseOpen {
		return
	}
	if x.awaited != 0 {
		x.awaited = c.loop.clock.now()
		limit, _ := c.awaitLimit()
		c.lookAfter(x.awaited, limit)
	}
	if c.flags&fReadBy != 0 {
		c.lookAfter(x.readBy, 0)
	}
}

// lookAfter has expire look at the connection when limit has passed since.
func (c *Conn) lookAfter(since int64, limit time.Duration) {
	c.loop.deadlines.set(c.loop, c, coarse(since+int64(limit), limit))
}

// expire is a step: a deadline has come, which means to look at what it was for.
func (c *Conn) expire() {
	l, t := c.loop, c.loop.clock.now()
	if c.phase == phaseLingering {
		if at := min(c.rare.lingerEnd, c.rare.progress+int64(lingerSilence)); t < at {
			l.deadlines.set(l, c, coarse(at, lingerSilence))
		} else {
			c.endLinger()
		}
		return
	}
	if limit := c.writeLimit(); limit > 0 && c.output != nil {
		c.check(t, c.rare.progress, limit, ErrWriteTimeout)
	}
	if c.mayRead() && !l.r.pressed.Load() {
		c.read()        // the loop may have been busy: what waits in the socket has come in time
		c.flushGather() // and so has the answer to it
	}
	if c.phase != phaseOpen || c.flags&(fClose|fFailed) != 0 {
		return
	}
	if limit := c.idleLimit(); limit > 0 {
		if c.holds > 0 || c.moved == unstamped {
			c.moved = t
		}
		c.check(t, c.moved, limit, ErrIdleTimeout)
	}
	if c.rare == nil || !c.expects() {
		return
	}
	if c.flags&fAgain != 0 {
		c.lookAfter(t+1, 0) // delivery is owed: what waits in the socket was not asked for yet
		return
	}
	if since := c.rare.awaited; since > 0 { // what is unstamped is looked at from the tick on
		limit, cause := c.awaitLimit()
		c.check(t, since, limit, cause)
	}
	if c.flags&fReadBy != 0 {
		c.check(t, c.rare.readBy, 0, ErrReadTimeout)
	}
}

// check fails the connection if limit has passed since, and looks again when it will have.
func (c *Conn) check(t, since int64, limit time.Duration, cause error) {
	if t < since+int64(limit) {
		c.lookAfter(since, limit)
	} else {
		c.fail(cause)
	}
}
