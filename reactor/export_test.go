// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"hash/maphash"
	"sync/atomic"
	"time"
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

// PeerEnded says whether the peer's FIN was read. On the loop only.
func (c *Conn) PeerEnded() bool { return c.flags&fEOF != 0 }

// LoopIndex says which loop c belongs to. Any goroutine.
func (c *Conn) LoopIndex() int { return c.loop.index }

// FDs returns the numbers of the listener's descriptors.
func (lis *Listener) FDs() (fds []int) {
	for _, s := range lis.sockets {
		fds = append(fds, s.descriptor())
	}
	return fds
}

// Peers returns how many peers MaxPerPeer knows.
func (lis *Listener) Peers() int {
	lis.limits.mu.Lock()
	defer lis.limits.mu.Unlock()
	return len(lis.limits.peers)
}

// PeerOf is what MaxPerPeer takes for one peer.
var PeerOf = peerOf

// Buffered returns how many bytes all connections together hold, as MaxBuffered counts them. Any goroutine.
func (r *Reactor) Buffered() int64 { return r.buffered.Load() }

// Connecting returns how many dials are in progress. Any goroutine.
func (r *Reactor) Connecting() int { return int(r.dials.Load()) }

// PretendConnected has the loop of c hear an event for each of its sockets that are connecting, and returns how many
// there are. On the loop only.
func (c *Conn) PretendConnected() int {
	for fd := range c.loop.dials.lines {
		_ = c.loop.dispatch(fd, netpoll.WriteEvents, 0)
	}
	return len(c.loop.dials.lines)
}

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

// PendingTimers is how many timers wait on c's loop. On the loop only.
func (c *Conn) PendingTimers() int { return len(c.loop.deadlines.timers) }

// Leftovers is how much r's loops still have to do or to wait for: connections, those included that linger, dials,
// deadlines, timers and tasks.
func Leftovers(r *Reactor) (n int) {
	for _, l := range r.loops {
		seen := make(chan struct{})
		err := l.postLoop(func() {
			n += l.total + len(l.deadlines.conns) + len(l.deadlines.timers) + len(l.dials.heap) + len(l.dials.lines) + len(l.parked)
			if l.mailbox.waiting() || l.todo.waiting() {
				n++
			}
			close(seen)
		})
		if err == nil {
			<-seen
		}
	}
	return n
}

// OwnsNothing says whether c holds no buffer. On the loop only.
func (c *Conn) OwnsNothing() bool { return c.input == nil && c.output == nil }

// A Registry is a loop's, without the loop: what Lookup, ByID and Conns read.
type Registry struct {
	g        registry
	sequence uint64
}

// NewRegistry makes one with nobody in it.
func NewRegistry() *Registry { return &Registry{g: registry{seed: maphash.MakeSeed()}} }

// Open enters a connection.
func (r *Registry) Open(fd int, t FourTuple) Ref {
	r.sequence++
	c := &Conn{fd: int32(fd), tuple: t, id: r.sequence<<fdBits | uint64(fd)}
	r.g.add(c)
	return Ref{c}
}

// End takes it out of what is found; it may linger.
func (r *Registry) End(ref Ref) {
	ref.c.seal()
	r.g.removeTuple(ref.c)
}

// Close frees its number.
func (r *Registry) Close(fd int) { r.g.removeFD(fd) }

// Lookup, ByID and Conns are those of Reactor.
func (r *Registry) Lookup(t FourTuple) Ref { return Ref{r.g.lookup(t)} }
func (r *Registry) ByID(id uint64) Ref     { return Ref{r.g.find(int(id&(1<<fdBits-1)), id)} }
func (r *Registry) Conns() (refs []Ref) {
	for _, c := range r.g.snapshot(nil) {
		refs = append(refs, Ref{c})
	}
	return refs
}

// Slots is how many slots the index of tuples has.
func (r *Registry) Slots() int { return len(r.g.slots) }

// AddTo counts a duration in h.
func AddTo(h *Histogram, d time.Duration) { h.add(int64(d)) }

// DelayStacks has the watchdogs of r look at no stack for d, as if the last had taken a tenth of that.
func DelayStacks(r *Reactor, d time.Duration) { r.stacksDue.Store(stopwatch() + int64(d)) }
