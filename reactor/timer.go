// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"container/heap"
	"time"
)

// unstamped stands for a time between the last tick and the next. What happens for every message asks no clock: the
// next tick fills in its own time, which is later, so that nothing that counts from it comes early.
const unstamped = -1

// maxUnstamped bounds how many connections wait for a tick; more have it come at once.
const maxUnstamped = 1024

// deadlines is all that a loop waits for: the next deadline of each connection that has one, timers, and the tick for
// what is unstamped. Its clock is armed for the earliest of them. On the loop only.
type deadlines struct {
	conns     schedule[*Conn]
	timers    schedule[*Timer]
	sequence  uint64 // of timers, as they were started
	urgent    int    // how many of timers are for the next turn
	unstamped []*Conn
	tick      time.Duration // the shortest period among those of unstamped
	armed     int64         // when the clock will wake the loop, 0 if it will not
}

// set gives c a deadline unless it has an earlier one. A deadline is a moment to look again, no more, so a
// connection whose real deadline moved away keeps the old one.
func (d *deadlines) set(l *loop, c *Conn, at int64) {
	switch {
	case c.heapIndex < 0:
		c.deadline = at
		heap.Push(&d.conns, c)
	case at < c.deadline:
		c.deadline = at
		heap.Fix(&d.conns, int(c.heapIndex))
	default:
		return
	}
	d.arm(l, at)
}

// remove forgets c. The clock may wake the loop once for nothing.
func (d *deadlines) remove(c *Conn) {
	if c.heapIndex >= 0 {
		heap.Remove(&d.conns, int(c.heapIndex))
	}
}

// due removes and returns a connection whose deadline has come, or nil.
func (d *deadlines) due(now int64) *Conn {
	if len(d.conns) == 0 || d.conns[0].deadline > now {
		return nil
	}
	return heap.Pop(&d.conns).(*Conn)
}

// dueTimer removes and returns the next timer that is due and was not started after last, or nil.
func (d *deadlines) dueTimer(now int64, last uint64) *Timer {
	if len(d.timers) == 0 || d.timers[0].due > now || d.timers[0].sequence > last {
		return nil
	}
	t := d.timers[0]
	t.remove()
	return t
}

// arm has the loop woken at the given moment if it would not be earlier.
func (d *deadlines) arm(l *loop, at int64) {
	if d.armed == 0 || at < d.armed {
		d.armed = at
		l.clock.wakeAt(at)
	}
}

// rearm arms for what is left after everything due was looked at.
func (d *deadlines) rearm(l *loop, now int64) {
	d.armed = 0
	if len(d.conns) > 0 {
		d.arm(l, d.conns[0].deadline)
	}
	if len(d.timers) > 0 {
		at := coarse(d.timers[0].due, 0)
		if d.urgent > 0 {
			at = now
		}
		d.arm(l, at)
	}
	if len(d.unstamped) > 0 {
		d.arm(l, coarse(now+1, d.tick))
	}
	if h := l.dials.heap; len(h) > 0 && h[0].at != never {
		d.arm(l, h[0].at)
	}
}

// stampLater has the next tick fill in the times of c that are unstamped: after a thirty-second of period at the latest.
func (d *deadlines) stampLater(c *Conn, period time.Duration) {
	l := c.loop
	if len(d.unstamped) == 0 || period < d.tick {
		d.tick = period
		d.arm(l, coarse(l.clock.now()+1, period))
	}
	if d.unstamped = append(d.unstamped, c); len(d.unstamped) == maxUnstamped {
		d.stamp(l.clock.now())
	}
}

// stamp is the tick.
func (d *deadlines) stamp(now int64) {
	for _, c := range d.unstamped {
		c.stamp(now)
	}
	clear(d.unstamped)
	d.unstamped = d.unstamped[:0]
}

// timeIsUp is what the clock calls. Any goroutine.
func (l *loop) timeIsUp() {
	l.rung.Store(true)
	l.wake()
}

// runTimers looks at what is due: connections, timers and sources.
func (l *loop) runTimers() {
	if !l.rung.Load() || !l.rung.Swap(false) {
		return
	}
	d, now := &l.deadlines, l.clock.now()
	if d.armed == 0 || now < d.armed {
		return // the clock was armed anew since it rang
	}
	l.counts.timerLag.add(now - d.armed)
	d.stamp(now)
	left := maxDuePerTurn
	for ; left > 0; left-- {
		c := d.due(now)
		if c == nil {
			break
		}
		l.counts.TimersRun++
		mark := l.mark()
		l.serve(c, (*Conn).expire)
		l.span(TraceTimer, c, mark, 0, 0)
	}
	last := d.sequence // those started from here on have their turn later, however soon they are due
	for ; left > 0; left-- {
		t := d.dueTimer(now, last)
		if t == nil {
			break
		}
		l.counts.TimersRun++
		mark := l.mark()
		t.run()
		l.span(TraceTimer, t.conn, mark, 0, 0)
	}
	l.runDials(now)
	if left == 0 {
		l.rung.Store(true)
		l.wake()
	} else {
		d.rearm(l, now) // not before: a Goexit in one of them must find the rest still due
	}
	for i := len(l.sources) - 1; i >= 0; i-- { // retry may close the source
		s := l.sources[i]
		if at := s.due(); at != 0 && at <= now {
			s.retry()
		} else if at != 0 {
			d.arm(l, at)
		}
	}
}

// A schedule is a heap whose entries know their place in it, so that they can be moved and removed.
type schedule[E scheduled[E]] []E

type scheduled[E any] interface {
	*Conn | *Timer | *dial
	before(other E) bool
	place(i int32) // -1 for none
}

func (s schedule[E]) Len() int           { return len(s) }
func (s schedule[E]) Less(i, j int) bool { return s[i].before(s[j]) }
func (s schedule[E]) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].place(int32(i))
	s[j].place(int32(j))
}

func (s *schedule[E]) Push(x any) {
	e := x.(E)
	e.place(int32(len(*s)))
	*s = append(*s, e)
}

func (s *schedule[E]) Pop() any {
	last := len(*s) - 1
	e := (*s)[last]
	(*s)[last] = nil
	*s = (*s)[:last]
	e.place(-1)
	return e
}

func (c *Conn) before(other *Conn) bool { return c.deadline < other.deadline }
func (c *Conn) place(i int32)           { c.heapIndex = i }
