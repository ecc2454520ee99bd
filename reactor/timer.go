// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"container/heap"
	"time"
)

// started is the zero of the reactor's clock.
var started = time.Now()

// now reads the monotonic clock, in nanoseconds since the start of the process. It is never 0.
func now() int64 { return int64(time.Since(started)) + 1 }

// coarse rounds a deadline up so that those of one period share wake-ups: never early, late by at most a
// thirty-second of the period.
func coarse(at int64, period time.Duration) int64 {
	step := max(int64(period)/32, int64(time.Millisecond))
	return (at + step - 1) / step * step
}

// deadlines holds the next deadline of each connection that has one, and one runtime timer armed for the earliest. On
// the loop only, but for the timer's function, which wakes the loop.
type deadlines struct {
	heap  deadlineHeap
	timer *time.Timer
	armed int64 // when the timer will ring, 0 if it will not
}

// set gives c a deadline unless it has an earlier one. A deadline is a moment to look again, no more, so a
// connection whose real deadline moved away keeps the old one.
func (d *deadlines) set(l *loop, c *Conn, at int64) {
	switch {
	case c.heapIndex < 0:
		c.deadline = at
		heap.Push(&d.heap, c)
	case at < c.deadline:
		c.deadline = at
		heap.Fix(&d.heap, int(c.heapIndex))
	default:
		return
	}
	d.arm(l, d.heap[0].deadline)
}

// remove forgets c. The timer may ring once for nothing.
func (d *deadlines) remove(c *Conn) {
	if c.heapIndex >= 0 {
		heap.Remove(&d.heap, int(c.heapIndex))
	}
}

// due removes and returns a connection whose deadline has come, or nil.
func (d *deadlines) due(now int64) *Conn {
	if len(d.heap) == 0 || d.heap[0].deadline > now {
		return nil
	}
	return heap.Pop(&d.heap).(*Conn)
}

// arm makes the timer ring at the given moment if it would not ring earlier.
func (d *deadlines) arm(l *loop, at int64) {
	if d.armed != 0 && d.armed <= at {
		return
	}
	d.armed = at
	wait := time.Duration(at - now())
	if d.timer == nil {
		d.timer = time.AfterFunc(wait, l.wake)
	} else {
		d.timer.Reset(wait)
	}
}

func (d *deadlines) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
	d.heap = nil
}

// runTimers looks at every connection and source whose deadline has come and arms the timer for the next.
func (l *loop) runTimers() {
	if l.deadlines.armed == 0 {
		return
	}
	t := now()
	if t < l.deadlines.armed {
		return
	}
	for c := l.deadlines.due(t); c != nil; c = l.deadlines.due(t) {
		l.serve(c, (*Conn).expire)
	}
	l.runDials(t)
	l.deadlines.armed = 0 // not before: a Goexit in expire must find the rest still due
	if len(l.deadlines.heap) > 0 {
		l.deadlines.arm(l, l.deadlines.heap[0].deadline)
	}
	if h := l.dials.heap; len(h) > 0 && h[0].at != never {
		l.deadlines.arm(l, h[0].at)
	}
	for i := len(l.sources) - 1; i >= 0; i-- { // retry may close the source
		s := l.sources[i]
		if at := s.due(); at != 0 && at <= t {
			s.retry()
		} else if at != 0 {
			l.deadlines.arm(l, at)
		}
	}
}

type deadlineHeap []*Conn

func (h deadlineHeap) Len() int           { return len(h) }
func (h deadlineHeap) Less(i, j int) bool { return h[i].deadline < h[j].deadline }
func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].heapIndex, h[j].heapIndex = int32(i), int32(j)
}

func (h *deadlineHeap) Push(x any) {
	c := x.(*Conn)
	c.heapIndex = int32(len(*h))
	*h = append(*h, c)
}

func (h *deadlineHeap) Pop() any {
	last := len(*h) - 1
	c := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	c.heapIndex = -1
	return c
}
