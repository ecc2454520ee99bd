// SPDX-License-Identifier: Apache-2.0
// Copyright The Quartet Authors

//go:build unix

package reactor

import (
	"errors"
	"math"
	"time"

	"golang.org/x/sys/unix"
)

// errMaxConns is why an acceptor stops, in its log line.
var errMaxConns = errors.New("MaxConns are open")

const (
	maxAccepts   = 16 // connections accepted for one event
	retryFirst   = 5 * time.Millisecond
	retryLongest = time.Second
)

// An acceptor is one listening socket on its loop. Its states: accepting, and stopped for want of descriptors, memory
// or a place under MaxConns, when it is not watched and tries again with back-off, and at once when a connection
// closes. So a loop that cannot accept neither spins nor dies, and the backlog holds who comes.
type acceptor struct {
	loop     *loop
	listener *Listener
	fd       int
	watched  interest
	stopped  bool
	again    int64         // when to try again, while stopped
	backoff  time.Duration // how long the last stop waited, 0 after accepting
	spell    int64         // until when a stop belongs to the spell that was told
	told     bool          // the log says that nothing is accepted
}

func (a *acceptor) descriptor() int { return a.fd }

func (a *acceptor) due() int64 {
	if a.stopped {
		return a.again
	}
	return 0
}

// ready accepts a batch.
func (a *acceptor) ready() {
	if a.fd < 0 {
		return // a task that came late
	}
	switch a.watch(interestRead); {
	case a.stopped:
	case edgeTriggered:
		a.accept(maxBacklog) // there is no second event for what is left
	default:
		a.accept(maxAccepts)
	}
}

// retry accepts again after a stop.
func (a *acceptor) retry() {
	if a.fd < 0 || !a.stopped {
		return
	}
	a.restart()
	if a.accept(maxAccepts); a.stopped {
		return
	}
	a.backoff = 0
	if a.told {
		a.told = false
		a.loop.r.opts.Logger.Info("reactor: accepting again", "listener", a.listener.String())
	}
	a.watch(interestRead)
}

// restart ends a stop.
func (a *acceptor) restart() {
	if a.stopped {
		a.stopped = false
		a.loop.r.starved.Add(-1)
	}
}

// accept takes up to n connections and says whether there may be more.
func (a *acceptor) accept(n int) bool {
	for range n {
		fd, tuple, full, err := a.acceptOnePlace()
		switch {
		case full:
			a.stop(errMaxConns)
			return false
		case err == 0:
			a.hand(fd, tuple)
			continue
		}
		switch err {
		case unix.EAGAIN:
			return false
		case unix.EMFILE, unix.ENFILE:
			if !a.loop.dropLingering() {
				a.stop(err)
				return false
			}
		case unix.EINTR, unix.ECONNABORTED, unix.EPROTO, unix.EPERM, unix.EOPNOTSUPP, unix.ENOPROTOOPT,
			unix.ENETDOWN, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.ENETUNREACH:
			// The connection is gone, or was never quite there: accept(2).
		default: // ENOBUFS, ENOMEM, and what nobody foresaw
			a.stop(err)
			return false
		}
	}
	return true
}

// acceptOnePlace accepts one connection if there is a place for it under MaxConns. The lock keeps acceptors from taking the
// same place; only they add to conns.
func (a *acceptor) acceptOnePlace() (fd int, tuple FourTuple, full bool, err unix.Errno) {
	r := a.loop.r
	if r.opts.MaxConns != math.MaxInt {
		r.places.Lock()
		defer r.places.Unlock()
		if r.conns.Load() >= int64(r.opts.MaxConns) {
			return -1, tuple, true, 0
		}
	}
	if fd, tuple, err = a.acceptOne(); err == 0 {
		r.conns.Add(1)
	}
	return fd, tuple, false, err
}

// hand gives a new connection to the loop with the fewest, or to this one where each loop has its own socket.
func (a *acceptor) hand(fd int, tuple FourTuple) {
	l := a.loop
	if !a.listener.opts.ReusePort {
		for _, other := range l.r.loops {
			if other.load.Load() < l.load.Load() {
				l = other
			}
		}
	}
	l.load.Add(1)
	c := &Conn{
		loop: l, origin: &a.listener.origin, tuple: tuple, fd: int32(fd), heapIndex: -1,
		id: l.r.sequence.Add(1)<<fdBits | uint64(fd),
	}
	if l == a.loop {
		l.serve(c, (*Conn).open)
	} else if l.post(task{op: opOpen, c: c}, true) != nil {
		l.load.Add(-1)
		l.r.conns.Add(-1)
		_ = unix.Close(fd)
	}
}

// stop ends accepting until a place comes free or the back-off is over.
func (a *acceptor) stop(cause error) {
	r := a.loop.r
	t := now()
	if t > a.spell {
		r.opts.Logger.Warn("reactor: not accepting", "listener", a.listener.String(), "err", cause)
		a.told = true
	}
	a.spell = t + int64(retryLongest)
	a.backoff = min(max(2*a.backoff, retryFirst), retryLongest)
	a.again = t + int64(a.backoff)
	a.stopped = true
	a.watch(unregistered)
	a.loop.deadlines.arm(a.loop, a.again)
	r.starved.Add(1)
	if r.conns.Load() < int64(r.opts.MaxConns) && cause == errMaxConns {
		a.loop.madeRoom() // one ended since we looked, and may not have seen us starve
	}
}

// watch changes what the socket is watched for.
func (a *acceptor) watch(to interest) {
	if to == a.watched || to == interestRead && a.stopped {
		return
	}
	err := a.loop.poller.set(a.fd, a.watched, to)
	if err != nil && to != unregistered {
		a.stop(err)
		return
	}
	a.watched = to
}

// open puts the socket on its loop.
func (a *acceptor) open() {
	if a.fd < 0 {
		return // closed before Serve
	}
	a.loop.sources = append(a.loop.sources, a)
	a.watch(interestRead)
	if a.loop.draining { // Shutdown overtook Listen
		a.drain()
	}
}

// drain accepts what waits and closes. A backlog has an end, but clients may refill it.
func (a *acceptor) drain() {
	if a.fd < 0 {
		return
	}
	defer a.closeFD() // also if an accept func calls Goexit
	a.restart()
	for n := 0; n < maxBacklog && a.accept(maxAccepts); n += maxAccepts {
	}
}

// closeFD closes the socket; who still waits in its backlog is reset by the kernel.
func (a *acceptor) closeFD() {
	if a.fd < 0 {
		return
	}
	a.loop.removeSource(a)
	a.restart()
	if a.watched != unregistered {
		_ = a.loop.poller.set(a.fd, a.watched, unregistered)
	}
	a.listener.closeSocket(&a.fd)
}

// madeRoom lets the acceptors know that a descriptor or a place under MaxConns may have come free. Any goroutine.
func (r *Reactor) madeRoom() {
	if r.starved.Load() > 0 {
		for _, l := range r.loops {
			l.madeRoom()
		}
	}
}

func (l *loop) madeRoom() {
	l.room.Store(true)
	l.wake()
}

// dropLingering closes the connections of all loops that only linger and says whether there were any here: their
// descriptors are worth more to new ones.
func (l *loop) dropLingering() bool {
	dropped := l.dropOwnLingering()
	for _, other := range l.r.loops {
		if other != l && other.lingering.Load() > 0 {
			_ = other.postLoop(func() { other.dropOwnLingering() })
		}
	}
	return dropped
}

func (l *loop) dropOwnLingering() bool {
	if l.lingering.Load() == 0 {
		return false
	}
	for _, c := range l.registry.byFD {
		if c != nil && c.phase == phaseLingering {
			c.endLinger()
		}
	}
	return true
}
