// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"sync/atomic"
	"unsafe"

	"github.com/panjf2000/gnet/v2/pkg/netpoll"
)

// What the tests see of the inside. Keep it small: a test that needs more than this usually tests the wrong thing.

// ConnSize is how many bytes a connection's record takes.
const ConnSize = unsafe.Sizeof(Conn{})

// FD returns the number of c's descriptor, -1 once it was given back. On the loop only.
func (c *Conn) FD() int {
	if c.phase == phaseClosed {
		return -1
	}
	return int(c.fd)
}

// LoopIndex says which loop c belongs to. Any goroutine.
func (c *Conn) LoopIndex() int { return c.loop.index }

// Buffered returns how many bytes all connections together hold, as MaxBuffered counts them. Any goroutine.
func (r *Reactor) Buffered() int64 { return r.buffered.Load() }

// CountEvents has r, which must not serve yet, count the events that its loops get. What it returns tells how many.
func CountEvents(r *Reactor) func() int64 {
	var n atomic.Int64
	for _, l := range r.loops {
		l.poller.setCallback(func(fd int, ev netpoll.IOEvent, flags netpoll.IOFlags) error {
			n.Add(1)
			return l.dispatch(fd, ev, flags)
		})
	}
	return n.Load
}
