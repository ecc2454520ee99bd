// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build linux && quartet_simulated

package reactor

import (
	"fmt"
	"net"
	"net/netip"
)

// Kernel is what this build's system calls go to, NativePoller its epoll.
type (
	Kernel       = kernel
	NativePoller = nativePoller
)

// EdgeTriggered says which of the interest_*.go was built.
const EdgeTriggered = edgeTriggered

// MaxParts is how many parts a gathering write has at most.
const MaxParts = maxParts

// UseKernel has the reactors made from now on use k.
func UseKernel(k Kernel) { system = k }

// ListenSimulated is Listen for the kernel's listening sockets, of the first loops one each.
func ListenSimulated(r *Reactor, network string, local netip.AddrPort, fds []int, accept AcceptFunc, o *StreamOptions) (*Listener, error) {
	opts, err := o.resolve()
	if err != nil {
		return nil, err
	}
	lis := newStreamListener(r, network, accept, opts)
	lis.local, lis.addr = local, net.TCPAddrFromAddrPort(local)
	for i, fd := range fds {
		lis.add(r.loops[i], fd)
	}
	return lis, lis.start()
}

// StartLoops is what Serve begins with.
func StartLoops(r *Reactor) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.start()
}

// BeginShutdown is Shutdown without waiting, BeginAbort what it does when its patience is over.
func BeginShutdown(r *Reactor) {
	if r.beginShutdown() {
		for _, l := range r.loops {
			_ = l.postLoop(l.drain)
		}
	}
}

func BeginAbort(r *Reactor) {
	r.abortBecause(net.ErrClosed)
	for _, l := range r.loops {
		_ = l.postLoop(l.abortAll)
	}
}

// RunningID is the ID of the connection whose step the loop runs, 0 for none.
func RunningID(r *Reactor, loop int) uint64 {
	if c := r.loops[loop].cur; c != nil {
		return c.id
	}
	return 0
}

// Held says whether a Hold keeps c. On the loop only.
func (c *Conn) Held() bool { return c.holds > 0 }

// Inconsistency says what is wrong with a loop that has nothing to do at the moment, "" for nothing.
func Inconsistency(r *Reactor, loop int) string {
	l := r.loops[loop]
	switch {
	case l.cur != nil:
		return "a step runs between events"
	case len(l.gather) > 0:
		return fmt.Sprintf("%d bytes are gathered between steps", len(l.gather))
	}
	for fd, c := range l.registry.byFD {
		switch {
		case c == nil:
		case int(c.fd) != fd:
			return fmt.Sprintf("the connection of descriptor %d is registered as %d", c.fd, fd)
		case c.phase == phaseClosed:
			return fmt.Sprintf("descriptor %d is found and its connection is closed", fd)
		case c.phase == phaseLingering && c.interest != interestRead,
			c.phase < phaseLingering && c.flags&fTodo == 0 && c.interest != c.wanted():
			return fmt.Sprintf("descriptor %d is watched for %d and its connection wants %d (flags %b)", fd, c.interest, c.wanted(), c.flags)
		case c.output != nil && c.output.size == 0:
			return fmt.Sprintf("the output queue of descriptor %d is empty", fd)
		}
	}
	return ""
}

// Remains says what of r is left after its end, "" for nothing.
func Remains(r *Reactor) string {
	for _, l := range r.loops {
		if l.total != 0 || l.load.Load() != 0 || l.lingering.Load() != 0 || l.todo.waiting() || l.mailbox.waiting() {
			return fmt.Sprintf("loop %d: %d connections, load %d, %d lingering", l.index, l.total, l.load.Load(), l.lingering.Load())
		}
	}
	if r.conns.Load() != 0 || r.buffered.Load() != 0 || r.starved.Load() != 0 || r.acceptors.Load() != 0 {
		return fmt.Sprintf("%d connections, %d bytes buffered, %d starved and %d open listening sockets", r.conns.Load(), r.buffered.Load(), r.starved.Load(), r.acceptors.Load())
	}
	return ""
}
